"""SVDF, and the requantization of 16-bit values that stands before it: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, exact_on, run_simulator
from written_models import Op, T

from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.runtime import Runtime

DRAWS = 2**16


def svdf(dice: Dice, state: str = "int16") -> Case:
    inputs, rank, units, memory = dice.of(1, 8, 33), dice.of(1, 2), dice.of(1, 8, 17), dice.size(1, 9)
    batch = dice.size(1, 2) * dice.grown**4
    s_x, s_f, s_t = dice.scale(-6, -4), dice.scale(-6, -4), dice.scale(-12, -9)
    s_state = dice.near(s_x * s_f * inputs**0.5 * 80 * 75 / (30000 if state == "int16" else 100))
    s_y = dice.near(s_state * s_t * 10000 * 300 if state == "int16" else s_state * s_t * 100)
    time = "int16" if state == "int16" else "int8"
    tensors = [
        T("x", (batch, inputs), scale=s_x, zero_point=dice.zero_point()),
        T("f", (units * rank, inputs), scale=s_f, data=dice.integers((units * rank, inputs), low=-127)),
        T("t", (units * rank, memory), time, s_t, data=dice.integers((units * rank, memory), time)),
        T("b", (units,), "int32", s_state * s_t, data=dice.rng.integers(-3000, 3000, units)),
        T("state", (batch, memory * units * rank), state, s_state, 0, is_variable=True),
        T("y", (batch, units), scale=s_y, zero_point=dice.zero_point()),
    ]
    op = Op(
        "SVDF",
        ["x", "f", "t", "b", "state"],
        ["y"],
        {"rank": rank, "fusedActivationFunction": 1},
        "SVDFOptions",
        version=3,
    )
    return Case(tensors, [op], {"x": dice.integers((batch, inputs))})


def multipliers_apart(dice: Dice) -> Case:
    """A cell whose multipliers in float32 and in float64 take a feature, and its output, to different integers."""
    s_x, s_f, s_state = ((np.exp(dice.rng.uniform(-6, -4, DRAWS)) * k).astype(np.float32) for k in (1, 1, 0.01))
    x, f = (dice.rng.integers(1, 128, DRAWS) for _ in range(2))
    in_float64 = np.float64(s_x) * np.float64(s_f) / np.float64(s_state)
    in_float32 = (s_x * s_f / s_state).astype(np.float64)
    one, other = (requantize(x * f, scale, Rounding.GEMMLOWP) for scale in (in_float32, in_float64))
    at = dice.of(*np.flatnonzero((one != other) & (one < 2**15)).tolist())
    time, s_time = 100, np.float32(dice.scale(-12, -9))  # one feature more is one step more
    scales = float(s_x[at]), float(s_f[at]), float(s_state[at])
    tensors = [
        T("x", (1, 1), scale=scales[0]),
        T("f", (1, 1), scale=scales[1], data=np.full((1, 1), f[at])),
        T("t", (1, 1), "int16", float(s_time), data=np.full((1, 1), time)),
        T("b", (1,), "int32", scales[2] * float(s_time), data=-one[at : at + 1] * time),
        T("state", (1, 1), "int16", scales[2], 0, is_variable=True),
        T("y", (1, 1), scale=scales[2] * float(s_time) * time),
    ]
    options = {"rank": 1, "fusedActivationFunction": 1}
    op = Op("SVDF", ["x", "f", "t", "b", "state"], ["y"], options, "SVDFOptions", version=3)
    return Case(tensors, [op], {"x": x[at : at + 1, None].astype(np.int8)})


def narrowed(dice: Dice) -> Case:
    shape, scale = dice.shape(), dice.scale(-10, -6)
    tensors = [
        T("x", shape, "int16", scale),
        T("y", shape, "int8", dice.near(scale * 256), dice.zero_point()),
    ]
    return Case(tensors, [Op("QUANTIZE", ["x"], ["y"])], {"x": dice.integers(shape, "int16")})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("SVDF", svdf, runtime, times=0.01, cases=60)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_between_float32_and_float64(runtime: Runtime) -> None:
    assert exact_on(multipliers_apart, runtime, 0, 40) == (40, 0)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_quantize(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("QUANTIZE int16 → int8", narrowed, runtime)


@pytest.mark.golden
def test_golden_int8_state(exact: Callable[..., None]) -> None:
    exact("SVDF, int8 state", lambda dice: svdf(dice, "int8"), Runtime.TFLM, times=0.01, cases=60)


@pytest.mark.parametrize("runtime", LITERT)
def test_an_int8_state_is_refused_where_it_damages_memory(runtime: Runtime) -> None:
    case = svdf(Dice(np.random.default_rng(1)), "int8")
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), runtime)
    assert "int16 state over the int8 one" in simulation.missing[0].why
