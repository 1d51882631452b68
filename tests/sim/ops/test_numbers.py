"""Arithmetic on plain numbers, the smallest floats among them, and what a graph asks of shapes: bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from golden import LITERT, ROUNDS, RUNTIMES, Case, Dice, Maker, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.accumulate import axis_of
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.runtime import Runtime

TINY = np.float32(1e-39)  # below the smallest normal float
ODD = np.asarray([0.0, -0.0, TINY, -TINY, 1e-30, 2.5, -2.5, 0.5, -1.5, 1e8, np.inf, -np.inf], np.float32)


def reals(dice: Dice, shape: Sequence[int], low: float = -np.inf) -> Array:
    x = (dice.rng.normal(size=shape) * np.exp(dice.rng.normal(0, 10, shape))).astype(np.float32)
    odd = dice.rng.choice(ODD[low <= ODD], shape)
    return np.where(dice.rng.random(shape) < 0.2, odd, np.maximum(x, np.float32(low)))


def unary(op: str, low: float = -np.inf, options: dict[str, float] | None = None) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        x = reals(dice, shape, low)
        if op in ("COS", "SIN"):
            x = np.fmod(np.where(np.isfinite(x), x, np.float32(0)), np.float32(1e4))
        return Case(
            [T("x", shape, "float32"), T("y", shape, "float32")], [Op(op, ["x"], ["y"], options or {})], {"x": x}
        )

    return make


def pair(op: str, dtype: str = "float32", kind: str | None = None) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        other = dice.of(shape, (1,) * (len(shape) - 1) + shape[-1:])
        a, b = numbers(dice, shape, dtype), numbers(dice, other, dtype)
        if op in ("DIV", "FLOOR_DIV", "FLOOR_MOD"):
            b = np.where((b == 0) | ~np.isfinite(b), np.asarray(3, dtype), b)
        if op.startswith("FLOOR"):
            a = np.where(np.isfinite(a), a, np.asarray(7, dtype))
        options = {"fusedActivationFunction": dice.of(0, 1, 2, 3)} if kind and dtype == "float32" else {}
        tensors = [T("a", shape, dtype), T("b", other, dtype), T("y", shape, dtype)]
        return Case(tensors, [Op(op, ["a", "b"], ["y"], options, kind)], {"a": a, "b": b})

    return make


def numbers(dice: Dice, shape: Sequence[int], dtype: str) -> Array:
    return reals(dice, shape) if dtype == "float32" else dice.rng.integers(-1000, 1000, shape).astype(dtype)


def shape_of(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()[-4:]
        shape = (*shape[:-1], min(shape[-1], 9))
        tensors = [T("x", shape, "float32"), T("y", (len(shape),) if op == "SHAPE" else (), "int32")]
        options = {"outType": 2} if op == "SHAPE" else {}
        kind = {"SHAPE": "ShapeOptions", "RANK": "RankOptions"}[op]
        return Case(tensors, [Op(op, ["x"], ["y"], options, kind)], {"x": reals(dice, shape)})

    return make


def turned(dice: Dice) -> Case:
    shape = (dice.side(1, 4), dice.side(1, 5), dice.size(1, 9))
    axes = dice.of([0], [1], [2], [-1], [1, 2], [0, 1, 2])
    tensors = [T("x", shape, "float32"), T("a", (len(axes),), "int32", data=axes), T("y", shape, "float32")]
    return Case(tensors, [Op("REVERSE_V2", ["x", "a"], ["y"])], {"x": reals(dice, shape)})


def counted(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        first, step = dice.size(-20, 20), dice.of(-3, -1, 1, 2, 7)
        last, unit = first + step * dice.side(1, 40) + dice.of(0, 1), dice.of(1, 0.1) if dtype == "float32" else 1
        values = {n: np.asarray(v * unit, dtype) for n, v in (("first", first), ("last", last), ("step", step))}
        if (last - first) * step <= 0:
            return make(dice)
        size = int(np.ceil(np.abs((values["last"] - values["first"]) / values["step"])))
        tensors = [T(name, (), dtype) for name in values] + [T("y", (size,), dtype)]
        return Case(tensors, [Op("RANGE", list(values), ["y"], {}, "RangeOptions")], values)

    return make


def broadcast_shapes(dice: Dice) -> Case:
    shape = [dice.size(2, 9) for _ in range(dice.size(1, 4))]
    other = [dice.of(1, size) for size in shape][dice.size(0, len(shape) - 1) :]
    feeds = {"a": np.asarray(shape, np.int32), "b": np.asarray(other, np.int32)}
    tensors = [T(name, x.shape, "int32") for name, x in feeds.items()] + [T("y", (len(shape),), "int32")]
    return Case(tensors, [Op("BROADCAST_ARGS", ["a", "b"], ["y"])], feeds)


def pooled(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        (h, w, taps), stride = (dice.side(3, 9), dice.size(3, 9), dice.size(1, 3)), dice.of(1, 2)
        padding, c = dice.of("SAME", "VALID"), dice.of(1, 3, 8, 17)
        rows, columns = (axis_of(size, taps, stride, 1, padding) for size in (h, w))
        options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
        options |= {"filterHeight": taps, "filterWidth": taps, "fusedActivationFunction": dice.of(0, 0, 1, 3)}
        x = dice.rng.normal(0, 3, (1, h, w, c)).astype(np.float32)
        tensors = [T("x", x.shape, "float32"), T("y", (1, rows.out, columns.out, c), "float32")]
        return Case(tensors, [Op(op, ["x"], ["y"], options)], {"x": x})

    return make


def reduced(op: str, *choices: Sequence[int]) -> Maker:
    def make(dice: Dice) -> Case:
        shape, axes = (dice.side(1, 1), dice.side(1, 9), dice.size(1, 9), dice.of(2, 3, 8, 17)), dice.of(*choices)
        keep = dice.chance()
        out = np.any(np.zeros(shape), axis=tuple(axes), keepdims=keep).shape
        tensors = [T("x", shape, "float32"), T("a", (len(axes),), "int32", data=axes), T("y", out, "float32")]
        x = dice.rng.normal(0, 3, shape).astype(np.float32)
        x[..., dice.rng.random(shape[-1]) < 0.1] = -0.0  # as HARD_SWISH gives
        return Case(tensors, [Op(op, ["x", "a"], ["y"], {"keepDims": keep}, "ReducerOptions")], {"x": x})

    return make


def of_squares(op: str) -> Maker:
    """Squares and their sum, which XNNPACK makes one operator of; some are too small for a float of their own."""

    def make(dice: Dice) -> Case:
        shape = (1, dice.side(1, 9), dice.size(1, 9), dice.of(2, 16, 40, 64, 70, 130, 300))
        axes = dice.of([1], [3], [1, 2], [2, 3], [1, 3], [1, 2, 3])
        out = np.any(np.zeros(shape), axis=tuple(axes)).shape
        tensors = [T("x", shape, "float32"), T("s", shape, "float32")]
        tensors += [T("a", (len(axes),), "int32", data=axes), T("y", out, "float32")]
        square = dice.of(Op("SQUARE", ["x"], ["s"]), Op("MUL", ["x", "x"], ["s"], {"fusedActivationFunction": 0}))
        x = dice.rng.normal(0, 3, shape).astype(np.float32)
        x[..., 1:][..., dice.rng.random(shape[-1] - 1) < 0.1] = 1e-22
        return Case(tensors, [square, Op(op, ["s", "a"], ["y"], {"keepDims": False}, "ReducerOptions")], {"x": x})

    return make


def curve(op: str, options: dict[str, float] | None = None) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        x = dice.rng.normal(0, dice.of(1, 10), shape).astype(np.float32)
        return Case(
            [T("x", shape, "float32"), T("y", shape, "float32")], [Op(op, ["x"], ["y"], options or {})], {"x": x}
        )

    return make


LEAKS = {"alpha": 0.3}
MAKERS: dict[str, Maker] = {
    **{f"{op} float32": unary(op) for op in ("RELU", "RELU6")},
    "LEAKY_RELU float32": unary("LEAKY_RELU", options=LEAKS),
    "MAX_POOL_2D float32": pooled("MAX_POOL_2D"),
    **{f"{op} float32": unary(op) for op in ("ABS", "CEIL", "FLOOR", "NEG", "ROUND", "SQUARE")},
    "SQUARED_DIFFERENCE float32": pair("SQUARED_DIFFERENCE"),
    **{f"{op} float32": pair(op, kind=f"{op.capitalize()}Options") for op in ("ADD", "SUB", "MUL", "DIV")},
    "SHAPE": shape_of("SHAPE"),
    "FLOOR_DIV int32": pair("FLOOR_DIV", "int32"),
    "FLOOR_DIV float32": pair("FLOOR_DIV"),
    "FLOOR_MOD int32": pair("FLOOR_MOD", "int32"),
    "FLOOR_MOD float32": pair("FLOOR_MOD"),
    "REVERSE_V2": turned,
    "BROADCAST_ARGS": broadcast_shapes,
}
LITERT_ONLY: dict[str, Maker] = {
    "RELU_N1_TO_1 float32": unary("RELU_N1_TO_1"),
    "RELU_0_TO_1 float32": unary("RELU_0_TO_1"),
    "RANK": shape_of("RANK"),
    "RANGE float32": counted("float32"),
    "RANGE int32": counted("int32"),
    **{f"{op} int32": pair(op, "int32", f"{op.capitalize()}Options") for op in ("ADD", "SUB", "MUL", "DIV")},
}
EVERYWHERE: dict[str, Maker] = {
    "MEAN float32": reduced("MEAN", [1], [1, 2], [2], [3], [2, 3], [1, 3], [1, 2, 3], [0, 3]),
    "SUM float32": reduced("SUM", [1], [1, 2], [3], [2], [1, 3]),
    **{f"{op} float32, of squares": of_squares(op) for op in ("MEAN", "SUM")},
    "AVERAGE_POOL_2D float32": pooled("AVERAGE_POOL_2D"),
    "LOGISTIC float32": curve("LOGISTIC"),
    "SOFTMAX float32": curve("SOFTMAX", {"beta": 1.0}),
    "TANH float32": curve("TANH"),
}
NOT_IN_XNNPACK: dict[str, Maker] = {
    "COS float32": unary("COS"),
    "SIN float32": unary("SIN"),
    "SQRT float32": unary("SQRT", low=0),
}
ROUNDS_OF_FEW = {"SHAPE": 200, "BROADCAST_ARGS": 200, "RANK": 2000}
"""A handful of numbers a run, that come from shapes alone: each model runs more often."""
ABSENT = {
    Runtime.TFLM: ("FLOOR_DIV int32", "FLOOR_MOD int32"),
    Runtime.REFERENCE: ("CEIL float32", "ROUND float32"),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if op in ABSENT.get(runtime.family, ()):
        pytest.skip("this runtime has no such op")
    exact(op, MAKERS[op], runtime, times=0.1, rounds=ROUNDS_OF_FEW.get(op, ROUNDS))


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", LITERT_ONLY)
def test_golden_where_tflm_has_none(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, LITERT_ONLY[op], runtime, times=0.1, rounds=ROUNDS_OF_FEW.get(op, ROUNDS))


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime is not Runtime.XNNPACK])
@pytest.mark.parametrize("op", NOT_IN_XNNPACK)
def test_golden_of_libm(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, NOT_IN_XNNPACK[op], runtime, times=0.1)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", EVERYWHERE)
def test_golden_of_sums_and_curves(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, EVERYWHERE[op], runtime, times=0.5)


@pytest.mark.parametrize("op", ["LOGISTIC float32", "SOFTMAX float32", "TANH float32"])
def test_other_processors_are_refused(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xnnpack, "has_avx512", lambda: False)
    case = EVERYWHERE[op](Dice())
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)[1].missing
    assert "AVX-512" in missing.why
