"""Float results of integer sums: one rounding of a fused product, and what the SSE kernel gets wrong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import fused_multiply_add
from quantdiff.sim.hybrid import sse_defect


def products(q: Array, w: Array) -> Array:
    return q @ w.T


def test_fused_multiply_add_rounds_once() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3000)).astype(np.float32)
    c = (-a * b * np.float32(2.0) ** rng.integers(-30, 30, 3000)).astype(np.float32)
    got = fused_multiply_add(a, b, c)
    for x, y, z, found in zip(*(v.tolist() for v in (a, b, c, got)), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        near = [np.float32(found), *(np.nextafter(np.float32(found), np.float32(end)) for end in (-np.inf, np.inf))]
        assert min(near, key=lambda value: abs(Fraction(float(value)) - exact)) == near[0]


def test_fused_multiply_add_sees_what_float64_loses() -> None:
    a, b = np.asarray([[8384513], [8392705 * 2.0**-70]], np.float32)  # their product is 2**-24 + 2**-70
    one = np.ones(1, np.float32)  # 1 + 2**-24 lies half way between two floats, and goes to the even one below
    assert fused_multiply_add(a, b, one) == 1 + 2.0**-23
    assert fused_multiply_add(a, -b, -one) == -1 - 2.0**-23
    assert fused_multiply_add(one, one * np.float32(2.0**-24), one) == 1


def test_sse_kernel_cannot_negate_the_lowest_weight() -> None:
    w = np.zeros((1, 20), np.int8)
    w[0, [0, 1, 18]] = -128
    q = np.zeros((2, 20), np.int32)
    q[:, 0], q[:, 1], q[:, 18] = [-3, 5], [2, -1], [-7, -7]  # the last lies behind the block of sixteen
    assert sse_defect(products, q, w).tolist() == [[256 * -3], [256 * -1]]
    assert not sse_defect(products, q, w + 1).any()
