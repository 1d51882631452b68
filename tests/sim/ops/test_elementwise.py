"""Ops on one or two tensors, element by element: every runtime bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime

NOT_IN_TFLM = {"EXP", "GELU", "GELU approximate", "LOG", "RELU_N1_TO_1"}
HARD = ("ADD", "MUL", "SUB", "SOFTMAX", "RELU", "QUANTIZE int8 → int8", "LOGISTIC")
PAIRS = ("ADD", "MUL", "SUB")


def unary(op: str) -> Maker:
    """An op with any scales, its output's scale near the input's."""

    def make(dice: Dice) -> Case:
        shape, scale, zero_point = dice.of(dice.shape(), (256,), (256,)), dice.scale(), dice.zero_point()
        tensors = [
            T("x", shape, scale=scale, zero_point=zero_point),
            T(
                "y",
                shape,
                scale=dice.of(dice.near(scale), dice.at_tie(scale, dice.size(1, 255))),
                zero_point=dice.zero_point(),
            ),
        ]
        x = np.arange(-128, 128, dtype=np.int8) if shape == (256,) else dice.integers(shape)
        return Case(tensors, [Op(op, ["x"], ["y"])], {"x": x})

    return make


def curve(op: str, scale: float, zero_point: int, inverse: Callable[[float], float]) -> Maker:
    """A function of one value whose output scale the kernels prescribe; half of the cases have a near-tie.

    ``inverse`` gives the real input at which the output is so many steps above its zero point.
    """

    def make(dice: Dice) -> Case:
        s_x, z_x = dice.scale(-5, 0.5), dice.zero_point()
        if dice.chance():
            s_x = abs(inverse(dice.size(0, 20) + 0.5) / dice.size(1, 128))
        tensors = [T("x", (256,), scale=s_x, zero_point=z_x), T("y", (256,), scale=scale, zero_point=zero_point)]
        return Case(tensors, [Op(op, ["x"], ["y"])], {"x": np.arange(-128, 128, dtype=np.int8)})

    return make


def softmax(dice: Dice) -> Case:
    """Rows below 256, where the reference kernel may abort; half of them have a probability next to a tie."""
    shape, scale, beta = dice.of(dice.shape(), (2, 255), (1, 250)), dice.scale(-5, 0.5), dice.of(1.0, 1.0, 0.5, 1.7)
    x = dice.integers(shape)
    row = x.reshape(-1, shape[-1])[0].astype(np.float64)
    if dice.chance() and shape[-1] > 1:
        x.reshape(-1, shape[-1])[0] = x.reshape(-1, shape[-1])[0] // 16  # values close together
        row, beta = x.reshape(-1, shape[-1])[0].astype(np.float64), 1.0
        scale = scale_at_tie(row - row.max(), dice.size(0, 40) + 0.5) or scale
    tensors = [T("x", shape, scale=scale, zero_point=dice.zero_point()), T("y", shape, scale=1 / 256, zero_point=-128)]
    return Case(tensors, [Op("SOFTMAX", ["x"], ["y"], {"beta": beta})], {"x": x})


def scale_at_tie(difference: Array, steps: float) -> float:
    """The input scale at which the largest probability is ``steps`` of 1/256, by bisection; 0 where there is none."""

    def largest(scale: float) -> float:
        return 256 / float(np.exp(scale * difference).sum())

    low, high = 1e-3, 1.0
    if not largest(low) < steps < largest(high):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if largest(middle) < steps else (low, middle)
    return float(np.float32(low))


def quantize(dice: Dice) -> Case:
    """Floats in and around the range, a third of them at ties."""
    shape, scale = dice.shape(), dice.scale()
    steps = dice.rng.normal(0, 60, shape)
    steps = np.where(dice.rng.random(shape) < 1 / 3, np.round(steps * 2) / 2, steps)
    x = (steps * scale).astype(np.float32)
    tensors = [T("x", shape, "float32"), T("y", shape, scale=scale, zero_point=dice.zero_point())]
    return Case(tensors, [Op("QUANTIZE", ["x"], ["y"])], {"x": x})


def dequantize(dice: Dice) -> Case:
    shape = dice.shape()
    tensors = [T("x", shape, scale=dice.scale(), zero_point=dice.zero_point()), T("y", shape, "float32")]
    return Case(tensors, [Op("DEQUANTIZE", ["x"], ["y"])], {"x": dice.integers(shape)})


def binary(op: str) -> Maker:
    """Two operands, the second perhaps constant, perhaps broadcast; often every pair of values."""

    def make(dice: Dice) -> Case:
        shape = dice.shape()
        narrow = ((1,) * (len(shape) - 1) + shape[-1:], (1,) * len(shape), shape[-1:])
        other = dice.of(shape, shape, *narrow)
        a, b, z_a, z_b = dice.integers(shape), dice.integers(other), dice.zero_point(), dice.zero_point()
        s_a, s_b = dice.scale(), dice.scale()
        s_y = dice.near(s_a * s_b * 60) if op == "MUL" else dice.near(max(s_a, s_b))
        if dice.chance(0.3):  # every pair of values, one of which lies next to a tie
            a, b, z_a, z_b, s_b = EVERY.reshape(256, 1), EVERY.reshape(1, 256), -128, -128, dice.near(s_a)
            both, unit = (dice.size(100, 255), s_a * s_b) if op == "MUL" else (1, s_a)
            s_y = dice.at_tie(unit, dice.size(100, 255) * both)
        constant = dice.chance(0.4)
        tensors = [
            T("a", a.shape, scale=s_a, zero_point=z_a),
            T("b", b.shape, scale=s_b, zero_point=z_b, data=b if constant else None),
            T("y", np.broadcast_shapes(a.shape, b.shape), scale=s_y, zero_point=dice.zero_point()),
        ]
        feeds = {"a": a} | ({} if constant else {"b": b})
        return Case(tensors, [Op(op, ["a", "b"], ["y"], {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3)})], feeds)

    return make


EVERY = np.arange(-128, 128, dtype=np.int8)


def squared(dice: Dice) -> Case:
    s_a, s_b = dice.scale(), dice.scale()
    tensors = [
        T("a", (256, 1), scale=s_a, zero_point=dice.zero_point()),
        T("b", (1, 256), scale=s_b, zero_point=dice.zero_point()),
        T("y", (256, 256), scale=dice.near(max(s_a, s_b) ** 2 * 250), zero_point=dice.zero_point()),
    ]
    op = Op("SQUARED_DIFFERENCE", ["a", "b"], ["y"], version=2)
    return Case(tensors, [op], {"a": EVERY.reshape(256, 1), "b": EVERY.reshape(1, 256)})


def function(op: str, **options: Any) -> Maker:
    """A function of one value, its output's range near the function's own."""

    def make(dice: Dice) -> Case:
        tensors = [
            T("x", (256,), scale=dice.scale(-6, -2), zero_point=dice.zero_point()),
            T("y", (256,), scale=dice.scale(-6, -3), zero_point=dice.zero_point()),
        ]
        kind = {"GELU": "GeluOptions"}.get(op)
        return Case(tensors, [Op(op, ["x"], ["y"], options, kind, 1 if op == "ELU" else 2)], {"x": EVERY})

    return make


def rsqrt(dice: Dice) -> Case:
    s_x = dice.scale(-6, -2)
    s_y = float(np.float32(s_x**-0.5 / dice.size(20, 250) * dice.rng.uniform(0.3, 3)))
    tensors = [T("x", (256,), scale=s_x, zero_point=-128), T("y", (256,), "int8", s_y, dice.zero_point())]
    return Case(tensors, [Op("RSQRT", ["x"], ["y"], version=2)], {"x": EVERY})


MAKERS: dict[str, Maker] = {
    "RSQRT": rsqrt,
    "ABS int8": unary("ABS"),
    "ELU": function("ELU"),
    "EXP": function("EXP"),
    "GELU": function("GELU"),
    "GELU approximate": function("GELU", approximate=True),
    "LOG": function("LOG"),
    "SQUARED_DIFFERENCE": squared,
    "ADD": binary("ADD"),
    "DEQUANTIZE": dequantize,
    "LOGISTIC": curve("LOGISTIC", 1 / 256, -128, lambda steps: math.log(steps / (256 - steps))),
    "MUL": binary("MUL"),
    "QUANTIZE float32 → int8": quantize,
    "QUANTIZE int8 → int8": unary("QUANTIZE"),
    "RELU": unary("RELU"),
    "RELU6": unary("RELU6"),
    "RELU_N1_TO_1": unary("RELU_N1_TO_1"),
    "SOFTMAX": softmax,
    "SUB": binary("SUB"),
    "TANH": curve("TANH", 1 / 128, 0, lambda steps: math.atanh(steps / 128)),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if (runtime is Runtime.TFLM and op in NOT_IN_TFLM) or (op, runtime) == ("ELU", Runtime.REFERENCE):
        pytest.skip("this runtime has no such op")
    exact(op, MAKERS[op], runtime, times=20 if op in PAIRS else 1, cases=100 if op in HARD else 30)
