"""Functions of one value, and of two: every type that the runtimes have, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.ops.elementary import roots_of_integers
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.runtime import Runtime


def erfc_half(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def every(dtype: str) -> Array:
    """All values of 8 bits, or 4,000 of 16 bits with the ends and the places where lines meet."""
    info = np.iinfo(dtype)
    if dtype == "int16":
        return np.unique(np.concatenate([np.arange(info.min, info.max, 17), [-1, 0, 1, 127, 128, 129, info.max]]))
    return np.arange(info.min, info.max + 1)


def at_tie(dice: Dice, value: float) -> float:
    """A scale on which ``value`` lies next to a half step."""
    return float(np.float32(value / (dice.size(0, 120) + 0.5)))


def curve(op: str, dtype: str, function: Callable[[float], float], options: dict[str, Any] | None = None) -> Maker:
    """Every value; the output's scale puts some input next to a tie, or lets the function overflow."""

    def make(dice: Dice) -> Case:
        wide = dtype == "int16"
        s_x = dice.scale(-12, -8) if wide else dice.scale(-6, 0.5)
        z_x, z_y = (0, 0) if wide else (dice.zero_point(dtype), dice.zero_point(dtype))
        q = every(dtype)
        if op == "RSQRT":
            q = q[q >= z_x]
        value = abs(function(float(s_x * (int(dice.of(*q)) - z_x)) or s_x))
        s_y = at_tie(dice, value) if 1e-6 < value < 1e6 and dice.chance(0.8) else dice.scale()
        if dice.chance(0.2):
            s_x, s_y = (s_x, s_y) if wide else (s_x, dice.scale(-25, -20))
        tensors = [T("x", q.shape, dtype, s_x, z_x), T("y", q.shape, dtype, s_y, z_y)]
        return Case(tensors, [Op(op, ["x"], ["y"], options or {})], {"x": q.astype(dtype)})

    return make


def real(op: str, low: float = -20, options: dict[str, Any] | None = None) -> Maker:
    """Floats, zeros of both signs and the ends of the range among them."""

    def make(dice: Dice) -> Case:
        wide = np.exp(np.minimum(dice.rng.normal(0, 20, 200), 88))
        x = np.concatenate([dice.rng.uniform(low, 20, 500), wide, [0.0, 1.0]])
        x = (x if low >= 0 else np.concatenate([x, -x])).astype(np.float32)
        tensors = [T("x", x.shape, "float32"), T("y", x.shape, "float32")]
        return Case(tensors, [Op(op, ["x"], ["y"], options or {})], {"x": x})

    return make


def root_apart(dice: Dice) -> Case:
    """Scales whose product in float32 and in float64 takes some root to different integers."""
    x, draws, found = np.arange(-127, 128, dtype=np.int8), 2**14, np.zeros(0, np.int64)
    while not found.size:
        s_x = np.exp(dice.rng.uniform(-6, 0.5, draws)).astype(np.float32)
        value, steps = dice.rng.integers(1, 256, draws), dice.rng.integers(0, 120, draws) + 0.5
        s_y = (1 / np.sqrt(s_x.astype(np.float64) * value) / steps).astype(np.float32)
        narrow, wide = (np.sqrt(s_x) * s_y).astype(np.float64), np.sqrt(s_x.astype(np.float64)) * s_y
        roots = roots_of_integers(value)
        one, other = (requantize(roots, 2.0**-20 / scale, Rounding.GEMMLOWP) for scale in (narrow, wide))
        found = np.flatnonzero((one != other) & (one < 250))
    scales = float(s_x[found[0]]), float(s_y[found[0]])
    tensors = [T(name, x.shape, scale=scale, zero_point=-128) for name, scale in zip("xy", scales, strict=True)]
    return Case(tensors, [Op("RSQRT", ["x"], ["y"])], {"x": x})


def squared_difference(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        other = dice.of(shape, (1,) * (len(shape) - 1) + shape[-1:])
        s_a, limit = dice.scale(-6, -2), np.iinfo(dtype).max
        s_b, wide = dice.near(s_a), dtype == "int16"
        unit = max(s_a, s_b) ** 2
        s_y = dice.at_tie(unit, dice.size(20, 150) ** 2) if dice.chance() else dice.near(unit * limit, 0.4)
        s_y = float(np.float32(max(s_y, unit / 2**13))) if not wide else float(np.float32(unit * limit))
        z_a, z_b, z_y = (0, 0, 0) if wide else (dice.zero_point(), dice.zero_point(), dice.zero_point())
        tensors = [
            T("a", shape, dtype, s_a, z_a),
            T("b", other, dtype, s_b, z_b),
            T("y", np.broadcast_shapes(shape, other), dtype, s_y, z_y),
        ]
        feeds = {"a": dice.integers(shape, dtype), "b": dice.integers(other, dtype)}
        return Case(tensors, [Op("SQUARED_DIFFERENCE", ["a", "b"], ["y"])], feeds)

    return make


def squared_numbers(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, tensors = dice.shape(), []
        feeds = {name: (dice.rng.normal(0, 1000, shape)).astype(dtype) for name in "ab"}
        tensors = [T(name, shape, dtype) for name in "aby"]
        return Case(tensors, [Op("SQUARED_DIFFERENCE", ["a", "b"], ["y"])], feeds)

    return make


def product(dtype: str) -> Maker:
    """Factors near 1 most of the time; several axes, and axes of size 1."""

    def make(dice: Dice) -> Case:
        shape = (dice.of(1, 2), dice.side(1, 4), dice.size(1, 4), dice.of(1, 7, 16, 17))
        axes, keep = dice.of([1], [1, 2], [2, 1], [0], [-4, 2], [3]), dice.chance()
        reduced = {axis % 4 for axis in axes}
        out = tuple(1 if i in reduced else size for i, size in enumerate(shape) if keep or i not in reduced)
        wide = dtype == "int16"
        s_x = dice.scale(-11, -8) if wide else dice.scale(-6, -3)
        count = math.prod(shape[i] for i in reduced)
        s_y = float(np.float32(s_x * np.exp(dice.rng.normal(0, 0.3) * count)))
        z_x, z_y = (0, 0) if wide else (dice.zero_point(), dice.zero_point())
        tensors = [
            T("x", shape, dtype, s_x, z_x),
            T("a", (len(axes),), "int32", data=axes),
            T("y", out, dtype, s_y, z_y),
        ]
        op = Op("REDUCE_PROD", ["x", "a"], ["y"], {"keepDims": keep}, "ReducerOptions", 2)
        return Case(tensors, [op], {"x": dice.integers(shape, dtype)})

    return make


LITERT_ONLY: dict[str, Maker] = {
    "EXP int8": curve("EXP", "int8", math.exp),
    "EXP int16": curve("EXP", "int16", math.exp),
    "GELU int8": curve("GELU", "int8", erfc_half),
    "GELU uint8": curve("GELU", "uint8", erfc_half),
    "GELU int16": curve("GELU", "int16", erfc_half),
    "GELU int8, approximate": curve("GELU", "int8", erfc_half, {"approximate": True}),
    "GELU int16, approximate": curve("GELU", "int16", erfc_half, {"approximate": True}),
    "LOG int16": curve("LOG", "int16", lambda x: math.log(x) if x > 0 else 1),
    "REDUCE_PROD int8": product("int8"),
    "REDUCE_PROD int16": product("int16"),
    "RSQRT int16": curve("RSQRT", "int16", lambda x: x**-0.5),
}
EVERYWHERE: dict[str, Maker] = {
    "RSQRT int8": curve("RSQRT", "int8", lambda x: x**-0.5),
    "SQUARED_DIFFERENCE float32": squared_numbers("float32"),
    "SQUARED_DIFFERENCE int8": squared_difference("int8"),
    "SQUARED_DIFFERENCE int32": squared_numbers("int32"),
}
ELU = curve("ELU", "int8", lambda x: math.expm1(min(x, 0)) + max(x, 0))
XNNPACK: dict[str, Maker] = {
    "COS float32": real("COS"),
    "ELU float32": real("ELU"),
    "EXP float32": real("EXP"),
    "GELU float32": real("GELU"),
    "GELU float32, approximate": real("GELU", options={"approximate": True}),
    "LOG float32": real("LOG", low=0),
    "SIN float32": real("SIN"),
}
"""Rational functions and polynomials of its own, on 400,000 elements each."""
NOT_IN_XNNPACK: dict[str, Maker] = {
    "ELU float32": real("ELU"),
    "EXP float32": real("EXP"),
    "RSQRT float32": real("RSQRT", low=0),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", EVERYWHERE)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, EVERYWHERE[op], runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", LITERT_ONLY)
def test_golden_where_tflm_has_none(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, LITERT_ONLY[op], runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime.family is not Runtime.REFERENCE])
def test_golden_elu(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("ELU int8", ELU, runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime is not Runtime.XNNPACK])
@pytest.mark.parametrize("op", NOT_IN_XNNPACK)
def test_golden_of_libm(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if (op, runtime.family) == ("ELU float32", Runtime.REFERENCE):
        pytest.skip("this runtime has no such op")
    exact(op, NOT_IN_XNNPACK[op], runtime, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in LITERT if runtime.family is not Runtime.XNNPACK])
@pytest.mark.parametrize("op", ["GELU float32", "GELU float32, approximate"])
def test_golden_gelu_of_eigen(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, XNNPACK[op], runtime, times=20, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [Runtime.XNNPACK, Runtime.XNNPACK_ARM64])
@pytest.mark.parametrize("op", XNNPACK)
def test_golden_of_xnnpacks_own(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, XNNPACK[op], runtime, times=20, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime is not Runtime.XNNPACK])
def test_golden_log(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("LOG float32", XNNPACK["LOG float32"], runtime)


@pytest.mark.parametrize("op", XNNPACK)
def test_curves_on_other_processors_are_refused(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xnnpack, "has_avx512", lambda: False)
    case = XNNPACK[op](Dice())
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)[1].missing
    assert "AVX-512" in missing.why


@pytest.mark.parametrize(("x", "y"), [(np.nan, 0), (-np.inf, 0), (-88, 0), (88.5, np.inf), (np.inf, np.inf)])
def test_exponential_beyond_the_ends(x: float, y: float) -> None:
    assert xnnpack.exp(np.full(1, x, np.float32), Runtime.XNNPACK) == y


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_rsqrt_between_float32_and_float64(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("RSQRT int8, near ties", root_apart, runtime, times=0.1, cases=10)


@pytest.mark.golden
def test_golden_squared_difference_of_16_bits(exact: Callable[..., None]) -> None:
    exact("SQUARED_DIFFERENCE int16", squared_difference("int16"), Runtime.TFLM)


def test_refined_estimates_of_xnnpack_are_refused() -> None:
    case = real("RSQRT", low=0)(Dice())
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)
    assert "XNNPACK" in simulation.missing[0].why


def test_root_of_a_negative_value_is_refused() -> None:
    tensors = [T("x", (2,), scale=0.1, zero_point=3), T("y", (2,), scale=0.1)]
    case = Case(tensors, [Op("RSQRT", ["x"], ["y"])], {"x": np.asarray([2, 4], np.int8)})
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.REFERENCE)
    assert "stops" in simulation.missing[0].why
