"""Ops that copy or compare, on every type of number that a runtime has them for: bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker, run_simulator
from movement import MAKERS
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime

DTYPES = ("uint8", "int16", "int32", "int64", "float32")
OPS = (
    *("BATCH_TO_SPACE_ND", "BROADCAST_TO", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "MAXIMUM", "MINIMUM"),
    *("MIRROR_PAD", "PACK", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH"),
    *("SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK"),
)


def values(dice: Dice, shape: Sequence[int], dtype: str) -> Array:
    """Random values of any type, the ends of the range and zeros of both signs among them."""
    if dtype != "float32":
        return dice.integers(shape, dtype)
    x = dice.rng.normal(0, 100, shape).astype(np.float32)
    planted = dice.rng.choice(np.asarray([0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40], np.float32), shape)
    return np.where(dice.rng.random(shape) < 0.1, planted, x)


def retyped(maker: Maker, dtype: str) -> Maker:
    """The same case with its int8 tensors of another type; 16 bits have the zero point 0, others no scale."""

    def make(dice: Dice) -> Case:
        case = maker(dice)

        def other(t: T) -> T:
            if t.dtype != "int8":
                return t
            scale = t.scale if dtype in ("uint8", "int16") else None
            zero_point = int(np.max(t.zero_point)) + 128 if dtype == "uint8" else 0
            return replace(t, dtype=dtype, scale=scale, zero_point=zero_point)

        feeds = {name: values(dice, x.shape, dtype) for name, x in case.feeds.items()}
        return Case([other(t) for t in case.tensors], case.operators, feeds)

    return make


IN_TFLM = {
    "BATCH_TO_SPACE_ND": ("float32",),
    "BROADCAST_TO": DTYPES,
    "DEPTH_TO_SPACE": ("float32",),
    "EXPAND_DIMS": ("int16", "float32"),
    "GATHER": ("float32",),
    "MAXIMUM": ("int16", "int32", "int64", "float32"),
    "MINIMUM": ("int16", "int32", "int64", "float32"),
    "MIRROR_PAD": ("float32",),
    "PACK": ("int16", "int32", "int64", "float32"),
    "PADV2": ("int16", "int32", "float32"),
    "REDUCE_MAX": ("float32",),
    "REDUCE_MIN": ("float32",),
    "SLICE": ("int16", "int32", "float32"),
    "SPACE_TO_DEPTH": ("float32",),
    "SPLIT": ("int16", "int32", "float32"),
    "SPLIT_V": ("int16", "int32", "float32"),
    "SQUEEZE": DTYPES,
    "STRIDED_SLICE": ("int16", "int32", "float32"),
    "TRANSPOSE": ("int16", "float32"),
    "UNPACK": ("int16", "int32", "float32"),
}
"""Types that TFLM takes besides int8; it stops at the others. SPACE_TO_BATCH_ND pads with what it never set."""
NOT_IN_LITERT = {("DEPTH_TO_SPACE", "int16"), ("SPACE_TO_DEPTH", "int16"), ("UNPACK", "int64")}
LITERT_CASES = [(op, dtype) for op in OPS for dtype in DTYPES if (op, dtype) not in NOT_IN_LITERT]
TFLM_CASES = [(op, dtype) for op, dtypes in IN_TFLM.items() for dtype in dtypes]


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize(("op", "dtype"), LITERT_CASES)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str, dtype: str) -> None:
    maker = retyped(MAKERS[op], dtype)
    if runtime.family is Runtime.XNNPACK and op.startswith("REDUCE"):
        maker = without_negative_zeros(maker)
    exact(f"{op} {dtype}", maker, runtime, times=0.1, cases=8)


def without_negative_zeros(maker: Maker) -> Maker:
    def make(dice: Dice) -> Case:
        case = maker(dice)
        feeds = {n: np.where(np.abs(x) < 1e-30, np.abs(x), x) for n, x in case.feeds.items()}
        return replace(case, feeds=feeds if case.tensors[0].dtype == "float32" else case.feeds)

    return make


def test_zeros_of_both_signs_are_refused() -> None:
    tensors = [T("x", (1, 2), "float32"), T("a", (1,), "int32", data=[1]), T("y", (1,), "float32")]
    case = Case(tensors, [Op("REDUCE_MIN", ["x", "a"], ["y"], {}, "ReducerOptions")], {})
    case = replace(case, feeds={"x": np.asarray([[0.0, -0.0]], np.float32)})
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)
    assert "both signs" in simulation.missing[0].why


@pytest.mark.golden
@pytest.mark.parametrize(("op", "dtype"), TFLM_CASES)
def test_golden_in_tflm(exact: Callable[..., None], op: str, dtype: str) -> None:
    exact(f"{op} {dtype}", retyped(MAKERS[op], dtype), Runtime.TFLM, times=0.1, cases=8)


def narrow_pair(op: str) -> Maker:
    """Floats of any two shapes that broadcast, the second perhaps constant; zeros, infinities, tiny numbers."""

    def make(dice: Dice) -> Case:
        shape = tuple(dice.of(1, 1, 2, 3, 8, 17) for _ in range(dice.size(1, 4)))
        cut = tuple(size if dice.chance() else 1 for size in shape)
        a, b = (shape, cut) if dice.chance() else (cut, shape)
        x, y, stored = values(dice, a, "float32"), values(dice, b, "float32"), dice.chance(0.3)
        tensors = [T("a", a, "float32"), T("b", b, "float32", data=y if stored else None), T("y", shape, "float32")]
        feeds = {"a": x} | ({} if stored else {"b": y})
        return Case(tensors, [Op(op, ["a", "b"], ["y"], {}, "MaximumMinimumOptions")], feeds)

    return make


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", ["MAXIMUM", "MINIMUM"])
def test_golden_of_zeros(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(f"{op} float32", narrow_pair(op), runtime, cases=200)
