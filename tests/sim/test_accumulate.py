"""Integer sums by BLAS: exact where float32 would not be, and wrapped as int32 wraps."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.graph import Tensor
from quantdiff.quant import QuantParams
from quantdiff.sim.accumulate import add_bias, exact_dtype, matmul, reach_of


def test_exact_where_float32_is_not() -> None:
    x, w = np.full((1, 3000), -255), np.full((3000, 1), -127)
    w[0] = -126  # an odd sum above 2**24
    assert exact_dtype(255, w) is np.float64
    assert matmul(x, w).tolist() == [[255 * (127 * 3000 - 1)]]


def test_float32_while_no_sum_reaches_its_limit() -> None:
    assert exact_dtype(255, np.full((4, 1), 127)) is np.float32


def test_more_than_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError, match="exceeds"):
        exact_dtype(2**31, np.asarray([[2**31]]))


def test_bias_wraps() -> None:
    assert add_bias(np.asarray([[2.0**31 - 1]]), np.asarray([1], np.int32)).tolist() == [[-(2**31)]]


def test_the_reach_is_that_of_the_farther_end() -> None:
    quant = [QuantParams((0.5,), (zero_point,)) for zero_point in (3, -128, 127)]
    assert [reach_of(Tensor(0, "x", (1,), "int8", each)) for each in quant] == [131, 255, 255]
