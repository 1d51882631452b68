"""FULLY_CONNECTED: edges by hand, then every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, run_simulator
from written_models import Op, T

from quantdiff.sim.runtime import Runtime


def dense(dice: Dice, per_channel: bool, dtype: str = "int8") -> Case:
    batch, depth = dice.of(1, 1, 2, 5, 64, 300), dice.of(1, 7, 16, 33, 100, 1500)
    units = dice.of(1, 7, 8, 9, 15, 16, 17, 33, 100)
    s_x = dice.scale()
    s_w = [dice.scale() for _ in range(units)] if per_channel and units > 1 else dice.scale()
    z_x, x = dice.zero_point(dtype), dice.integers((batch, depth), dtype)
    units_of = np.broadcast_to(np.float64(s_x) * np.asarray(s_w), (units,))
    s_y = dice.near(np.mean(units_of) * depth**0.5 * 74 * 73 / dice.of(2, 30, 60, 200))
    b = dice.rng.integers(-3000, 3000, units)
    planted = dice.chance(0.6)
    if planted:  # the bias alone lands next to a tie; the smaller the multiplier, the nearer
        x = np.where(dice.rng.random((batch, 1)) < 0.8, np.asarray(z_x, dtype), x)
        s_y = dice.at_tie(float(units_of[0]), 2.0 ** dice.size(6, 28))
        b = dice.biases_at_ties(units_of, s_y)
    z_w = 0 if per_channel or dice.chance(0.5) else dice.zero_point(dtype)
    weights = dice.integers((units, depth), dtype, low=-127 if dtype == "int8" else None)
    tensors = [
        T("x", (batch, depth), dtype, s_x, z_x),
        T("w", (units, depth), dtype, s_w, z_w, data=weights),
        T("y", (batch, units), dtype, s_y, dice.zero_point(dtype)),
    ]
    names: list[str | None] = ["x", "w"]
    if planted or dice.chance(0.8):
        tensors.append(T("b", (units,), "int32", np.atleast_1d(np.float32(s_x) * np.asarray(s_w, np.float32)), data=b))
        names.append("b")
    op = Op("FULLY_CONNECTED", names, ["y"], {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3)})
    return Case(tensors, [op], {"x": x})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_golden(exact: Callable[..., None], runtime: Runtime, per_channel: bool) -> None:
    name = f"FULLY_CONNECTED, {'per channel' if per_channel else 'per tensor'}"
    exact(name, lambda dice: dense(dice, per_channel), runtime, cases=150)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_uint8(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("FULLY_CONNECTED uint8", lambda dice: dense(dice, False, "uint8"), runtime)


def test_by_hand() -> None:
    tensors = [
        T("x", (1, 2), scale=0.5, zero_point=-1),
        T("w", (3, 2), scale=0.5, data=[[1, 2], [3, -4], [127, 127]]),
        T("b", (3,), "int32", scale=0.25, data=[1, -2, 0]),
        T("y", (1, 3), scale=0.5, zero_point=3),
    ]
    case = Case(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"])], {})
    x = np.asarray([[2, 3]], np.int8)  # minus the zero point: 3, 4
    model = Case(tensors, case.operators, {"x": x}).write()
    # sums 3·1 + 4·2 + 1 = 12, 3·3 − 4·4 − 2 = −9, 889; times 0.5: 6, −4.5, 444.5; plus 3, clipped to 127
    want = {Runtime.REFERENCE: [9, -2, 127], Runtime.BUILTIN: [9, -1, 127], Runtime.XNNPACK: [9, -1, 127]}
    for runtime, y in want.items():
        graph, simulation = run_simulator(model, [x], runtime)
        assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == y, runtime


def test_keeps_dimensions() -> None:
    tensors = [
        T("x", (1, 3, 2), scale=0.5),
        T("w", (4, 2), scale=0.5, data=np.arange(8).reshape(4, 2)),
        T("y", (1, 3, 4), scale=0.5),
    ]
    op = Op("FULLY_CONNECTED", ["x", "w", None], ["y"], {"keepNumDims": True})
    x = np.arange(6, dtype=np.int8).reshape(1, 3, 2)
    graph, simulation = run_simulator(Case(tensors, [op], {"x": x}).write(), [x], Runtime.REFERENCE)
    assert simulation.values[graph.outputs[0]].shape == (1, 1, 3, 4)
