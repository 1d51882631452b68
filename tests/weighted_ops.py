"""Cases of convolutions and dense layers with any option, many of them with a result next to a tie."""

from __future__ import annotations

import numpy as np
from golden import Case, Dice
from written_models import Op, T

from quantdiff.sim.accumulate import axis_of


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
