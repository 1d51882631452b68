"""Quantization of real values: the fast way for narrow integers against the text, at ties and beside them."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.errors import NotComparable
from quantdiff.quant import INTEGER_RANGE, QuantParams, dequantize, quantize, round_half_away

SCALES = (1.0, 0.5, 1 / 3, 0.0235, 1e-20, 3e10)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("scale", SCALES)
def test_ties_and_their_neighbours(scale: float, dtype: str) -> None:
    low, high = INTEGER_RANGE[dtype]
    dice = np.random.default_rng(0)
    params = QuantParams((float(np.float32(scale)),), (int(dice.integers(max(low, -70_000), min(high, 70_000))),))
    whole = np.concatenate([np.arange(-300, 300), dice.integers(-70_000, 70_000, 20_000)])
    halves = (whole + 0.5) * np.float32(scale)
    x = np.concatenate([halves, dice.normal(0, 200, 20_000) * scale, [0, -0.0, np.inf, -np.inf]]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(-np.inf)), np.nextafter(x, np.float32(np.inf))])
    with np.errstate(over="ignore", invalid="ignore"):
        steps = round_half_away(x / np.float32(params.scale[0])).astype(np.float64)
        found = quantize(x, params, dtype)
    zero_point = params.zero_point[0]
    assert np.array_equal(found, np.clip(steps, low - zero_point, high - zero_point) + zero_point)
    assert found.dtype.name == dtype


def test_a_scale_per_channel_and_no_values() -> None:
    params = QuantParams((0.5, 0.25), (0, 1), axis=1)
    assert quantize(np.array([[0.75, 0.125]]), params, "int8").tolist() == [[2, 2]]
    assert quantize(np.zeros((0, 2), np.float32), params, "int8").shape == (0, 2)


@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_nan_has_no_integer(dtype: str) -> None:
    with pytest.raises(NotComparable, match="NaN"):
        quantize(np.array([1.0, np.nan, 2.0]), QuantParams((0.5,), (0,)), dtype)


def test_a_scale_that_no_converter_writes_warns_nobody() -> None:
    integers = np.array([0, 1], np.int8)
    for scale in (float("inf"), float("nan"), 3e38, 0.0):
        params = QuantParams((scale,), (0,))
        dequantize(integers, params)
    assert quantize(np.array([1e38], np.float32), QuantParams((1e-45,), (0,)), "int8") == [127]
