"""The ops of older files: every int8 case again with uint8 tensors, bit for bit on LiteRT's runtimes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, Case, Dice, Maker, run_simulator
from sim.ops import test_elementwise as elementwise
from sim.ops import test_second_row as second_row
from sim.ops import test_spatial as spatial
from written_models import Op, T

from quantdiff.sim.runtime import Runtime


def unsigned(maker: Maker) -> Maker:
    """The same case with its int8 tensors 128 higher."""

    def make(dice: Dice) -> Case:
        case = maker(dice)
        while any(isinstance(t.scale, list) and len(t.scale) > 1 for t in case.tensors):  # here a tensor has one scale
            case = maker(dice)

        def other(t: T) -> T:
            if t.dtype != "int8":
                return t
            data = None if t.data is None else np.asarray(t.data, np.int64) + 128
            return replace(t, dtype="uint8", zero_point=int(np.max(t.zero_point)) + 128, data=data)

        feeds = {n: _higher(x) if np.asarray(x).dtype == np.int8 else x for n, x in case.feeds.items()}
        return Case([other(t) for t in case.tensors], case.operators, feeds)

    return make


def _higher(x: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (x.astype(np.int16) + 128).astype(np.uint8)


def requantized(source: str, target: str) -> Maker:
    """At the ends of a file: mostly a move by 128, now and then another scale."""

    def make(dice: Dice) -> Case:
        shape, scale = dice.shape(), dice.scale()
        same = dice.chance()
        zero_point = dice.zero_point(source)
        moved = zero_point + (128 if target == "uint8" else -128)
        y = T("y", shape, target, scale if same else dice.near(scale), moved if same else dice.zero_point(target))
        x = dice.integers(shape, source)
        return Case([T("x", shape, source, scale, zero_point), y], [Op("QUANTIZE", ["x"], ["y"])], {"x": x})

    return make


ABSENT = ("ABS", "BATCH_MATMUL", "LOG", "RSQRT", "SQUARED_DIFFERENCE")
OTHER_TYPES = ("int16", "uint8")
MAKERS = {
    op.replace("int8", "uint8") + ("" if "int8" in op else " uint8"): unsigned(maker)
    for op, maker in {**elementwise.MAKERS, **second_row.MAKERS, **spatial.MAKERS}.items()
    if not op.startswith(ABSENT) and not any(dtype in op for dtype in OTHER_TYPES)
}
MAKERS |= {f"QUANTIZE {a} → {b}": requantized(a, b) for a, b in (("int8", "uint8"), ("uint8", "int8"))}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, times=0.5)


def test_eight_times_as_large_has_a_kernel_of_its_own_and_is_refused() -> None:
    tensors = [
        T("x", (1, 2, 2, 8), "uint8", 0.5, 3),
        T("s", (2,), "int32", data=(16, 16)),
        T("y", (1, 16, 16, 8), "uint8", 0.5, 3),
    ]
    op = Op("RESIZE_BILINEAR", ["x", "s"], ["y"], {"halfPixelCenters": True}, version=3)
    case = Case(tensors, [op], {"x": np.zeros((1, 2, 2, 8), np.uint8)})
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.BUILTIN)
    assert "one of its own" in simulation.missing[0].why


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
def test_curves_that_tflm_does_not_have_are_refused(op: str) -> None:
    """It gave values of int8's grid, up to 128 steps off."""
    tensors = [T("x", (1, 8), "uint8", 0.05, 100), T("y", (1, 8), "uint8", 1 / 256, 0)]
    feeds = [np.arange(0, 256, 32, dtype=np.uint8).reshape(1, 8)]
    _, simulation = run_simulator(Case(tensors, [Op(op, ["x"], ["y"])], {"x": feeds[0]}).write(), feeds, Runtime.TFLM)
    assert "TFLM has this curve for int8" in simulation.missing[0].why
