"""Rounding, worked by hand: ties, negative values, saturation."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.sim.node import NoKernel
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    divide_half_away,
    multiply_by_quantized_multiplier,
    multiply_int64_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    rounding_divide_by_pot,
    rounding_shift_right,
    saturating_rounding_doubling_high_mul,
)

G, R, S, X, D = (Rounding(letter) for letter in "GRSXD")


@pytest.mark.parametrize(
    ("scale", "mantissa", "shift"),
    [
        (1.0, 2**30, 1),
        (0.5, 2**30, 0),
        (0.75, 3 * 2**29, 0),
        (6.0, 3 * 2**29, 3),
        (1 - 2.0**-33, 2**30, 1),  # rounds up to 2**31, which does not fit: one bit moves to the shift
        (2.0**-32, 2**30, -31),
        (2.0**-33, 0, 0),  # every bit would be shifted out
        (0.0, 0, 0),
    ],
)
def test_quantize_multiplier(scale: float, mantissa: int, shift: int) -> None:
    assert [int(v) for v in quantize_multiplier(scale)] == [mantissa, shift]


@pytest.mark.parametrize(
    ("acc", "scale", "want"),
    [  # acc * scale, and what each rule makes of it
        (-1, 0.5, {G: 0, R: 0, S: 0, X: 0, D: -1}),
        (1, 0.5, {G: 1, R: 1, S: 1, X: 0, D: 1}),
        (3, 0.5, {G: 2, R: 2, S: 2, X: 2, D: 2}),
        (-3, 0.5, {G: -1, R: -1, S: -1, X: -2, D: -2}),
        (-6, 0.25, {G: -2, R: -1, S: -1, X: -2, D: -2}),  # a tie in the shift, not in the multiply
        (6, 0.25, {G: 2, R: 2, S: 2, X: 2, D: 2}),
        (10, 0.25, {G: 3, R: 3, S: 3, X: 2, D: 3}),
        (5, 0.25, {G: 2, R: 2, S: 1, X: 1, D: 1}),  # 1.25: the first rounding makes it 1.5, the second 2
        (7, 3.0, {G: 21, R: 21, S: 21, X: 21, D: 21}),
        (2**24 + 1, 1.0, {G: 2**24 + 1, R: 2**24 + 1, S: 2**24 + 1, X: 2**24, D: 2**24 + 1}),  # float32 drops a bit
    ],
)
def test_requantize_rounds_by_its_own_rule(acc: int, scale: float, want: dict[Rounding, int]) -> None:
    got = {rule: int(requantize(np.asarray([acc]), scale, rule)[0]) for rule in want}
    assert got == want


def test_shift_to_the_left_wraps_as_int32_does() -> None:
    acc = np.asarray([2**30])
    assert multiply_by_quantized_multiplier(acc, 2**30, 2, G).tolist() == [0]


def test_high_mul_saturates_where_both_are_the_minimum() -> None:
    least = np.asarray([-(2**31)])
    assert saturating_rounding_doubling_high_mul(least, least).tolist() == [2**31 - 1]
    assert saturating_rounding_doubling_high_mul(np.asarray([-32768]), -32768, bits=16).tolist() == [32767]


def test_ties_in_a_shift() -> None:
    x = np.asarray([-6, -5, -2, 2, 5, 6])
    assert rounding_divide_by_pot(x, 2).tolist() == [-2, -1, -1, 1, 1, 2]
    assert rounding_shift_right(x, 2).tolist() == [-1, -1, 0, 1, 1, 2]
    assert rounding_shift_right(x, 0).tolist() == x.tolist()


def test_int64_accumulators_take_a_mantissa_of_15_bits() -> None:
    mantissa, shift = quantize_multiplier(0.5)
    assert multiply_int64_by_quantized_multiplier(np.asarray([3, -3, 2**33]), mantissa, shift).tolist() == [2, -1, 0]
    top = multiply_int64_by_quantized_multiplier(np.asarray([2**15]), 2**31 - 1, 0)
    assert top.tolist() == [0x7FFF]  # 2**31 - 1 would round to 2**15, one bit too many


def test_divide_half_away() -> None:
    assert divide_half_away(np.asarray([5, -5, 7, -7, 0]), 2).tolist() == [3, -3, 4, -4, 0]
    assert divide_half_away(np.asarray([4, -4, 5, -5]), 3).tolist() == [1, -1, 2, -2]


def test_a_shift_that_c_does_not_define_is_refused() -> None:
    with pytest.raises(NoKernel, match="undefined"):
        requantize(np.ones(2, np.int64), np.asarray([0.5, 2.0**31]), Rounding.GEMMLOWP)
    assert requantize(np.ones(1, np.int64), 2.0**29, Rounding.GEMMLOWP) == 2**29
