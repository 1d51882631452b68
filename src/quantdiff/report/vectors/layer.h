/* One layer of a quantized model: what it takes, how it scales, what it must give.
 * Written by quantdiff; see manifest.json for the model, the runtime and the versions. */
#ifndef QUANTDIFF_LAYER_H
#define QUANTDIFF_LAYER_H

#include <stdint.h>

enum layer_kind { FULLY_CONNECTED, CONV_2D, DEPTHWISE_CONV_2D };

struct layer {
    const char *name;
    enum layer_kind kind;
    int32_t is_unsigned; /* input, weights and output hold uint8_t, else int8_t */

    /* Input (batch, in_h, in_w, in_c), output (batch, out_h, out_w, out_c), all samples behind each other.
     * FULLY_CONNECTED has in_h = in_w = out_h = out_w = 1 and weights (out_c, in_c); CONV_2D has weights
     * (out_c, taps_h, taps_w, depth), depth < in_c where there are groups; DEPTHWISE_CONV_2D has weights
     * (1, taps_h, taps_w, out_c). */
    int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
    int32_t taps_h, taps_w, depth;
    int32_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;

    int32_t input_zero_point, weights_zero_point, output_zero_point;
    int32_t low, high; /* clamp, with the fused activation */

    const void *input, *weights, *output;
    const int32_t *bias;        /* may be NULL */
    const int32_t *accumulator; /* sums with bias, shaped as the output */

    /* Per output channel: scale = multiplier * 2^(shift - 31), and the rule that uses them:
     * G two integer roundings, half up, then half away from zero (gemmlowp, TensorFlow Lite Micro)
     * R two integer roundings, both half up (ruy)
     * X a float product, half to even (XNNPACK)
     * D a double product, half away from zero (reference FULLY_CONNECTED) */
    const char *rule;
    const double *scale;
    const int32_t *multiplier;
    const int32_t *shift;
};

#endif
