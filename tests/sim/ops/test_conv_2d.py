"""CONV_2D and DEPTHWISE_CONV_2D: edges by hand, then every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, run_simulator
from written_models import Op, T

from quantdiff.sim.runtime import Runtime
from quantdiff.sim.window import axis_of


def image(dice: Dice, depthwise: bool, dtype: str = "int8") -> Case:
    """A convolution with any option that the schema allows."""
    n, h, w, taps_h, taps_w = dice.of(1, 1, 2), dice.size(3, 20), dice.size(3, 20), dice.size(1, 3), dice.size(1, 3)
    stride = dice.of(1, 1, 2, 3)
    dilation = dice.of(1, 1, 2) if stride == 1 else 1
    if depthwise:
        c, multiplier, groups = dice.of(1, 3, 7, 8, 9, 15, 16, 17, 24), dice.of(1, 1, 2, 3), 1
        out, depth = c * multiplier, taps_h * taps_w
        shape, axis = (1, taps_h, taps_w, out), 3 if dtype == "int8" else dice.of(0, 0, 3)
    else:
        groups = dice.of(1, 1, 1, 2)
        c, out = groups * dice.of(1, 3, 8, 17), groups * dice.of(1, 4, 7, 8, 9, 15, 16, 17)
        shape, axis, depth = (out, taps_h, taps_w, c // groups), 0, taps_h * taps_w * c // groups
    padding = dice.of("SAME", "VALID")
    rows = axis_of(h, taps_h, stride, dilation, padding)
    columns = axis_of(w, taps_w, stride, dilation, padding)
    if min(rows.out, columns.out) < 1:
        return image(dice, depthwise, dtype)
    s_x = dice.scale()
    s_w = [dice.scale() for _ in range(out)] if dtype == "int8" and dice.chance(0.7) and out > 1 else dice.scale()
    z_x, x = dice.zero_point(dtype), dice.integers((n, h, w, c), dtype)
    units = np.broadcast_to(np.float64(s_x) * np.asarray(s_w), (out,))
    s_y, b = dice.near(np.mean(units) * depth**0.5 * 74 * 73 / dice.of(2, 30, 60, 200)), dice.rng.integers(-9, 9, out)
    if dice.chance(0.4):  # the bias alone lands next to a tie
        x = np.where(dice.rng.random((1, h, w, 1)) < 0.8, np.asarray(z_x, dtype), x)
        s_y = dice.at_tie(float(units[0]), 2.0 ** dice.size(6, 28))
        b = dice.biases_at_ties(units, s_y)
    options = {
        "padding": int(padding == "VALID"),
        "strideH": stride,
        "strideW": stride,
        "dilationHFactor": dilation,
        "dilationWFactor": dilation,
        "fusedActivationFunction": dice.of(0, 0, 1, 2, 3),
    }
    weights = dice.integers(shape, dtype, low=-127 if dtype == "int8" else None)
    tensors = [
        T("x", (n, h, w, c), dtype, s_x, z_x),
        T("w", shape, dtype, s_w, 0 if dtype == "int8" else dice.zero_point(dtype), axis, weights),
        T("b", (out,), "int32", np.atleast_1d(np.float32(s_x) * np.asarray(s_w, np.float32)), data=b),
        T("y", (n, rows.out, columns.out, out), dtype, s_y, dice.zero_point(dtype)),
    ]
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    op = Op(name, ["x", "w", "b"], ["y"], options | ({"depthMultiplier": out // c} if depthwise else {}))
    return Case(tensors, [op], {"x": x})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, lambda dice: image(dice, op == "DEPTHWISE_CONV_2D"), runtime, times=5)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_golden_uint8(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(f"{op} uint8", lambda dice: image(dice, op == "DEPTHWISE_CONV_2D", "uint8"), runtime, times=5)


def test_padding_counts_as_the_zero_point() -> None:
    tensors = [
        T("x", (1, 2, 2, 1), scale=1.0, zero_point=5),
        T("w", (1, 3, 3, 1), scale=1.0, data=np.ones((1, 3, 3, 1))),
        T("b", (1,), "int32", scale=1.0, data=[0]),
        T("y", (1, 2, 2, 1), scale=1.0, zero_point=-2),
    ]
    x = np.asarray([6, 7, 8, 9], np.int8).reshape(1, 2, 2, 1)  # minus the zero point: 1 + 2 + 3 + 4
    op = Op("CONV_2D", ["x", "w", "b"], ["y"], {"padding": 0, "strideH": 1, "strideW": 1})
    for runtime in RUNTIMES:
        graph, simulation = run_simulator(Case(tensors, [op], {"x": x}).write(), [x], runtime)
        assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == [8, 8, 8, 8]


def test_the_tail_of_depthwise_channels_rounds_away_from_zero() -> None:
    channels = 9  # eight in the vector, one behind
    tensors = [
        T("x", (1, 1, 1, channels), scale=1.0),
        T("w", (1, 1, 1, channels), scale=1.0, axis=3, data=np.ones((1, 1, 1, channels))),
        T("b", (channels,), "int32", scale=1.0, data=np.zeros(channels)),
        T("y", (1, 1, 1, channels), scale=4.0),
    ]
    x = np.full((1, 1, 1, channels), -6, np.int8)  # −6 / 4 is a tie in the shift
    op = Op("DEPTHWISE_CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1, "depthMultiplier": 1})
    model = Case(tensors, [op], {"x": x}).write()
    graph, simulation = run_simulator(model, [x], Runtime.BUILTIN)
    assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == [-1] * 8 + [-2]
