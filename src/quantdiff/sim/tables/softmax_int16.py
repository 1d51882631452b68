"""The 16-bit softmax: two tables of 513 entries with linear interpolation, in float64, or float32 in TFLM.

Source: ``internal/reference/softmax.h`` (``SoftmaxInt16``), ``internal/common.h`` (``LUTPopulateInt16``,
``LUTLookup``), ``tflite/kernels/activations.cc`` (``SoftmaxPrepare``); tflm:
``tensorflow/lite/micro/kernels/softmax_common.cc`` (``InitializeLutForInt16``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from quantdiff.quant import Array, round_half_away
from quantdiff.sim.floats import libm
from quantdiff.sim.node import Node, scale_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.runtime import Runtime

Real = Any
"""``np.float32`` or ``np.float64``."""

LOW, HIGH, RANGE, STEPS = -32768, 32767, 65535, 512


def populate(scale: float, zero_point: int, function: Callable[[Array], Array], real: Real) -> Array:
    """The table of a function over all int16 inputs, its outputs within ±1, all in ``real``. Shape: (513,)."""
    low, high = (real(scale) * real(end - zero_point) for end in (LOW, HIGH))
    top, bottom = (real(2.0 / RANGE) * real(end) for end in (HIGH, LOW))
    step, inverse = (high - low) / real(STEPS), real(RANGE + 1) / (top - bottom)
    at = low + np.arange(STEPS + 1).astype(real) * step
    points = function(at) * inverse
    between = round_half_away((points[1:] + round_half_away(points[:-1])) / real(2))
    error = between - round_half_away(function(at[:-1] + step / real(2)) * inverse)
    table = round_half_away(points[:-1]) - round_half_away(error / real(2))
    last = round_half_away(function(np.asarray([high])) * inverse)
    whole: Array = np.clip(np.concatenate([table, last]), LOW, HIGH)
    return whole.astype(np.int64)


@cache
def tables(in_float32: bool) -> tuple[Array, Array]:
    """Exp on [-10, 0], and 1/(1 + x) on [0, 1]."""
    if in_float32:
        exponential = populate(10.0 / RANGE, HIGH, partial(libm.apply, "expf"), np.float32)
        return exponential, populate(1.0 / RANGE, LOW, lambda x: np.float32(1) / (np.float32(1) + x), np.float32)
    return populate(10.0 / RANGE, HIGH, np.exp, np.float64), populate(
        1.0 / RANGE, LOW, lambda x: 1.0 / (1.0 + x), np.float64
    )


def look_up(x: Array, table: Array) -> Array:
    """The table at an int16 value, interpolated. Shape as ``x``."""
    index = 256 + (x >> 7)
    value: Array = table[index] + (((table[index + 1] - table[index]) * (x & 0x7F) + 64) >> 7)
    return value


def softmax_int16(node: Node, difference: Array, runtime: Runtime) -> Array:
    """``exp(beta * difference) / sum`` along the last axis in Q0.15. Shape as ``difference``, which is <= 0."""
    exponential, reciprocal = tables(runtime is Runtime.TFLM)
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
