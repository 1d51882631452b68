"""The 16-bit softmax: two tables of 513 entries with linear interpolation, the same in every runtime.

Source: ``internal/reference/softmax.h`` (``SoftmaxInt16``), ``internal/common.h`` (``LUTPopulateInt16``,
``LUTLookup``), ``tflite/kernels/activations.cc`` (``SoftmaxPrepare``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from quantdiff.quant import Array, round_half_away
from quantdiff.sim.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.node import Node, scale_of

LOW, HIGH, RANGE, STEPS = -32768, 32767, 65535, 512


def populate(scale: float, zero_point: int, function: Callable[[Array], Array]) -> Array:
    """The table of a function over all int16 inputs, its outputs within ±1. Shape: (513,)."""
    low, high = scale * (LOW - zero_point), scale * (HIGH - zero_point)
    step, inverse = (high - low) / STEPS, (RANGE + 1) / (2.0 / RANGE * (HIGH - LOW))
    at = low + np.arange(STEPS) * step
    value, after = function(at) * inverse, function(low + np.arange(1, STEPS + 1) * step) * inverse
    between = round_half_away((after + round_half_away(value)) / 2)
    error = between - round_half_away(function(at + step / 2) * inverse)
    table = round_half_away(value) - round_half_away(error / 2)
    last = round_half_away(function(np.asarray([high])) * inverse)
    whole: Array = np.clip(np.concatenate([table, last]), LOW, HIGH)
    return whole.astype(np.int64)


@cache
def tables() -> tuple[Array, Array]:
    """Exp on [-10, 0], and 1/(1 + x) on [0, 1]."""
    return populate(10.0 / RANGE, HIGH, np.exp), populate(1.0 / RANGE, LOW, lambda x: 1.0 / (1.0 + x))


def look_up(x: Array, table: Array) -> Array:
    """The table at an int16 value, interpolated. Shape as ``x``."""
    index = 256 + (x >> 7)
    value: Array = table[index] + (((table[index + 1] - table[index]) * (x & 0x7F) + 64) >> 7)
    return value


def softmax_int16(node: Node, difference: Array) -> Array:
    """``exp(beta * difference) / sum`` along the last axis in Q0.15. Shape as ``difference``, which is <= 0."""
    exponential, reciprocal = tables()
    scale = np.float64(scale_of(node.x) * np.float32(node.option("beta", 1.0))) / (10.0 / RANGE)
    scaled = multiply_by_quantized_multiplier(difference, *quantize_multiplier(scale), Rounding.GEMMLOWP)
    e = look_up((scaled + HIGH).clip(LOW, HIGH), exponential)
    total = e.sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    shifted = ((total << (headroom - 1)) + (1 << 13)) >> 14
    factor = look_up((shifted - (1 << 15) - (1 << 16)).clip(LOW, HIGH), reciprocal)
    right = 31 - headroom
    y: Array = (e * factor + (np.int64(1) << (right - 1))) >> right
    return y.clip(0, HIGH)
