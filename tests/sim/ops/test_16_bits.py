"""16-bit activations on 8-bit weights, and 16-bit elementwise ops: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.sim.runtime import Runtime
from quantdiff.sim.window import axis_of

INT32, INT64 = 2, 4  # TensorType in the schema


def biases(dice: Dice, units: np.ndarray, s_y: float, wide: bool) -> T:
    b = dice.biases_at_ties(units, s_y) if dice.chance() else dice.rng.integers(-30000, 30000, units.size)
    return T("b", (units.size,), "int64" if wide else "int32", units.astype(np.float32), data=b)


def dense(dice: Dice) -> Case:
    batch, depth, units, wide = dice.of(1, 3, 20), dice.of(1, 16, 33, 100), dice.of(1, 7, 8, 17, 33), dice.chance()
    s_x, per_channel = dice.scale(-11, -8), dice.chance() and units > 1
    s_w = [dice.scale() for _ in range(units)] if per_channel else dice.scale()
    unit = np.broadcast_to(np.float64(s_x) * np.asarray(s_w), (units,))
    s_y = dice.near(float(np.mean(unit)) * depth**0.5 * 74 * 19000 / 12000)
    tensors = [
        T("x", (batch, depth), "int16", s_x),
        T("w", (units, depth), "int8", s_w, data=dice.integers((units, depth), low=-127)),
        replace(biases(dice, unit, s_y, wide), scale=np.unique(unit.astype(np.float32)) if not per_channel else unit),
        T("y", (batch, units), "int16", s_y),
    ]
    options = {"quantizedBiasType": INT64 if wide else INT32, "fusedActivationFunction": dice.of(0, 0, 1, 3)}
    op = Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], options, version=11)
    return Case(tensors, [op], {"x": dice.integers((batch, depth), "int16")})


def image(dice: Dice, depthwise: bool) -> Case:
    h, w, taps, stride = dice.size(3, 12), dice.size(3, 12), dice.size(1, 3), dice.of(1, 1, 2)
    c, wide, padding = dice.of(1, 3, 8, 17), depthwise or dice.chance(), dice.of("SAME", "VALID")
    out = c * dice.of(1, 2) if depthwise else dice.of(1, 7, 8, 17)
    shape, axis = ((1, taps, taps, out), 3) if depthwise else ((out, taps, taps, c), 0)
    rows, columns = (axis_of(size, taps, stride, 1, padding) for size in (h, w))
    s_x, s_w = dice.scale(-11, -8), [dice.scale() for _ in range(out)]
    unit = np.float64(s_x) * np.asarray(s_w)
    s_y = dice.near(float(np.mean(unit)) * (taps * taps * (1 if depthwise else c)) ** 0.5 * 74 * 19000 / 12000)
    options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
    options |= {"depthMultiplier": out // c} if depthwise else {"quantizedBiasType": INT64 if wide else INT32}
    tensors = [
        T("x", (1, h, w, c), "int16", s_x),
        T("w", shape, "int8", s_w, axis=axis, data=dice.integers(shape, low=-127)),
        biases(dice, unit, s_y, wide),
        T("y", (1, rows.out, columns.out, out), "int16", s_y),
    ]
    op = Op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", ["x", "w", "b"], ["y"], options, version=5 if depthwise else 8
    )
    return Case(tensors, [op], {"x": dice.integers((1, h, w, c), "int16")})


def curve(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        s_x = 2.0 ** dice.of(-12, -11, -13) if dice.chance() else dice.scale(-10, -6)
        tensors = [T("x", shape, "int16", s_x), T("y", shape, "int16", 2.0**-15)]
        return Case(tensors, [Op(op, ["x"], ["y"])], {"x": dice.integers(shape, "int16")})

    return make


def pair(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, s_a, s_b = dice.shape(), dice.scale(-11, -8), dice.scale(-11, -8)
        s_y = dice.near(s_a * s_b * 15000 if op == "MUL" else max(s_a, s_b))
        tensors = [T("a", shape, "int16", s_a), T("b", shape, "int16", s_b), T("y", shape, "int16", s_y)]
        options = {"fusedActivationFunction": dice.of(0, 0, 1)}
        options |= {} if op == "MUL" else {"potScaleInt16": False}
        feeds = {name: dice.integers(shape, "int16") for name in "ab"}
        return Case(tensors, [Op(op, ["a", "b"], ["y"], options, version=3 if op == "ADD" else 4)], feeds)

    return make


def softmax(dice: Dice) -> Case:
    shape = dice.of(dice.shape(), (2, 255), (1, 1000))
    tensors = [T("x", shape, "int16", dice.scale(-11, -6)), T("y", shape, "int16", 2.0**-15)]
    x = dice.integers(shape, "int16") // dice.of(1, 1, 30)
    return Case(tensors, [Op("SOFTMAX", ["x"], ["y"], {"beta": dice.of(1.0, 1.0, 0.5)})], {"x": x})


MAKERS: dict[str, Maker] = {
    "SOFTMAX int16": softmax,
    "ADD int16": pair("ADD"),
    "CONV_2D int16×8": lambda dice: image(dice, False),
    "DEPTHWISE_CONV_2D int16×8": lambda dice: image(dice, True),
    "FULLY_CONNECTED int16×8": dense,
    "LOGISTIC int16": curve("LOGISTIC"),
    "MUL int16": pair("MUL"),
    "SUB int16": pair("SUB"),
    "TANH int16": curve("TANH"),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, times=5 if op.startswith(("ADD", "SUB", "MUL")) else 1)
