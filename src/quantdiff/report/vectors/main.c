/* Recomputes every layer of layers.h and compares each accumulator and each output: PASS and status 0, or FAIL and 1.
 * Written by quantdiff. Put your own kernel in the place of accumulate() or requantize() to check it.
 *
 *     cc -std=c99 -Wall -Wextra -Werror main.c -o check && ./check
 *
 * Needs no library but printf. Right shifts of negative numbers and conversions that do not fit, which C99
 * leaves to the compiler, are spelled out. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "layers.h"

/* floor(x / 2^n) */
static int64_t floor_shift(int64_t x, int32_t n)
{
    return x >= 0 ? x >> n : -((-x - 1) >> n) - 1;
}

/* The low 32 bits, as an int32_t holds them. */
static int32_t wrap(int64_t x)
{
    const uint32_t low = (uint32_t)x;
    return low < 0x80000000u ? (int32_t)low : (int32_t)(low - 0x80000000u) - 2147483647 - 1;
}

/* Rules G and R: multiply in 64 bits, round half up at bit 31, then shift right. */
static int32_t two_roundings(int32_t acc, int32_t multiplier, int32_t shift, int away)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int32_t shifted = wrap((int64_t)acc * ((int64_t)1 << left));
    const int64_t high = floor_shift((int64_t)shifted * multiplier + ((int64_t)1 << 30), 31);
    const int64_t half = right > 0 ? (int64_t)1 << (right - 1) : 0;
    return (int32_t)floor_shift(high + half - (away && right > 0 && high < 0), right);
}

/* Rules S and N: multiply in 64 bits, shift once, halves up. N, which is NEON's, shifts left in 32 bits before. */
static int32_t one_rounding(int32_t acc, int32_t multiplier, int32_t shift, int neon)
{
    const int32_t left = neon && shift >= 0 ? shift + 1 : 0;
    const int32_t right = left > 0 ? 32 : 31 - shift;
    const int64_t shifted = left > 0 ? wrap((int64_t)acc * ((int64_t)1 << left)) : acc;
    return (int32_t)floor_shift(shifted * multiplier + ((int64_t)1 << (right - 1)), right);
}

/* Rules X and D: x is small here, so its whole part is exact. */
static int32_t nearest(double x, int ties_to_even)
{
    const int32_t whole = (int32_t)x;
    const double rest = x < 0 ? whole - x : x - whole;
    const int up = rest > 0.5 || (rest == 0.5 && (!ties_to_even || whole % 2 != 0));
    return whole + (up ? (x < 0 ? -1 : 1) : 0);
}

static double between(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* From an accumulator with bias to the stored output. */
static int32_t requantize(const struct layer *l, int32_t acc, int32_t channel)
{
    const double low = (double)l->low - l->output_zero_point, high = (double)l->high - l->output_zero_point;
    const char rule = l->rule[channel];
    const float product = (float)acc * (float)l->scale[channel];
    int64_t y;
    if (rule == 'X')
        y = nearest(between(product, low, high), 1);
    else if (rule == 'D')
        y = nearest(between((double)acc * l->scale[channel], low, high), 0);
    else if (rule == 'S' || rule == 'N')
        y = one_rounding(acc, l->multiplier[channel], l->shift[channel], rule == 'N');
    else
        y = two_roundings(acc, l->multiplier[channel], l->shift[channel], rule == 'G');
    y += l->output_zero_point;
    return (int32_t)(y < l->low ? l->low : y > l->high ? l->high : y);
}

static int32_t load(const struct layer *l, const void *data, int32_t i)
{
    return l->is_unsigned ? ((const uint8_t *)data)[i] : ((const int8_t *)data)[i];
}

/* (x - z_x) * (w - z_w) of two stored integers */
static int32_t product(const struct layer *l, int32_t x, int32_t w)
{
    return (load(l, l->input, x) - l->input_zero_point) * (load(l, l->weights, w) - l->weights_zero_point);
}

static int64_t sum_of_row(const struct layer *l, int32_t row, int32_t channel)
{
    int64_t sum = 0;
    for (int32_t k = 0; k < l->in_c; k++)
        sum += product(l, row * l->in_c + k, channel * l->in_c + k);
    return sum;
}

static int64_t sum_of_tap(const struct layer *l, int32_t pixel, int32_t tap, int32_t channel)
{
    if (l->kind == DEPTHWISE_CONV_2D)
        return product(l, pixel * l->in_c + channel / (l->out_c / l->in_c), tap * l->out_c + channel);
    const int32_t per_group = l->out_c / (l->in_c / l->depth);
    const int32_t x = pixel * l->in_c + channel / per_group * l->depth;
    const int32_t w = (channel * l->taps_h * l->taps_w + tap) * l->depth;
    int64_t sum = 0;
    for (int32_t k = 0; k < l->depth; k++)
        sum += product(l, x + k, w + k);
    return sum;
}

/* Taps outside the image add nothing: padding stands for real 0. */
static int64_t sum_of_window(const struct layer *l, int32_t image, int32_t row, int32_t column, int32_t channel)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < l->taps_h; i++)
        for (int32_t j = 0; j < l->taps_w; j++) {
            const int32_t y = row * l->stride_h + i * l->dilation_h - l->pad_top;
            const int32_t x = column * l->stride_w + j * l->dilation_w - l->pad_left;
            if (y >= 0 && y < l->in_h && x >= 0 && x < l->in_w)
                sum += sum_of_tap(l, (image * l->in_h + y) * l->in_w + x, i * l->taps_w + j, channel);
        }
    return sum;
}

/* Accumulator with bias of output element i. */
static int32_t accumulate(const struct layer *l, int32_t i)
{
    const int32_t channel = i % l->out_c, pixel = i / l->out_c;
    const int32_t column = pixel % l->out_w, row = pixel / l->out_w % l->out_h, image = pixel / l->out_w / l->out_h;
    const int64_t sum =
        l->kind == FULLY_CONNECTED ? sum_of_row(l, pixel, channel) : sum_of_window(l, image, row, column, channel);
    return wrap(sum + (l->bias == NULL ? 0 : l->bias[channel]));
}

/* Number of elements that are wrong; the first is printed. */
static int32_t check(const struct layer *l)
{
    const int32_t count = l->batch * l->out_h * l->out_w * l->out_c;
    int32_t wrong = 0;
    for (int32_t i = 0; i < count; i++) {
        const int32_t acc = accumulate(l, i), y = requantize(l, acc, i % l->out_c), want = load(l, l->output, i);
        if (acc == l->accumulator[i] && y == want)
            continue;
        if (wrong++ == 0)
            printf("%s: element %ld: accumulator %ld, expected %ld; output %ld, expected %ld\n", l->name, (long)i,
                   (long)acc, (long)l->accumulator[i], (long)y, (long)want);
    }
    printf("%s: %ld of %ld elements wrong\n", l->name, (long)wrong, (long)count);
    return wrong;
}

int main(void)
{
    int32_t wrong = 0, count = 0;
    for (; layers[count] != NULL; count++)
        wrong += check(layers[count]) != 0;
    if (count == 0)
        puts("no layer to check");
    puts(wrong == 0 && count > 0 ? "PASS" : "FAIL");
    return wrong == 0 && count > 0 ? 0 : 1;
}
