"""DEQUANTIZE and QUANTIZE with a scale for each slice along an axis: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.sim.runtime import Runtime

AXES = 4


def cut(dice: Dice, dtype: str) -> tuple[tuple[int, ...], dict[str, object]]:
    """A shape, and scales along one of its axes: the square among them, where a wrong axis fits too."""
    size = dice.size(2, 9)
    shape = dice.of((size,) * dice.size(2, AXES), tuple(dice.side(2, 9) for _ in range(dice.size(2, AXES))))
    axis = dice.size(0, len(shape) - 1)
    scales = [dice.scale() for _ in range(shape[axis])]
    return shape, {"scale": scales, "zero_point": [dice.zero_point(dtype) for _ in scales], "axis": axis}


def dequantize(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, quant = cut(dice, dtype)
        tensors = [T("x", shape, dtype, **quant), T("y", shape, "float32")]  # type: ignore[arg-type]
        return Case(tensors, [Op("DEQUANTIZE", ["x"], ["y"], version=5)], {"x": dice.integers(shape, dtype)})

    return make


def quantize(dice: Dice) -> Case:
    """Floats of which every third lies on a tie of the largest scale."""
    shape, quant = cut(dice, "int8")
    steps = dice.rng.normal(0, 60, shape)
    steps = np.where(dice.rng.random(shape) < 1 / 3, np.round(steps * 2) / 2, steps)
    x = (steps * np.max(np.asarray(quant["scale"]))).astype(np.float32)
    tensors = [T("x", shape, "float32"), T("y", shape, "int8", **quant)]  # type: ignore[arg-type]
    return Case(tensors, [Op("QUANTIZE", ["x"], ["y"])], {"x": x})


MAKERS: dict[str, Maker] = {
    "DEQUANTIZE int8, per channel": dequantize("int8"),
    "DEQUANTIZE uint8, per channel": dequantize("uint8"),
    "QUANTIZE float32 → int8, per channel": quantize,
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime is Runtime.TFLM and not op.startswith("DEQUANTIZE int8"):
        pytest.skip("this runtime has no such kernel")
    exact(op, MAKERS[op], runtime)
