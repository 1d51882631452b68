"""SVDF with int8 weights: LiteRT ``internal/reference/svdf.h`` (``EvalIntegerSVDF``).

tflm: ``tensorflow/lite/micro/kernels/svdf_common.cc``, which knows an int8 state as well. xnnpack declines it.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred, matmul
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, wrap_int32
from quantdiff.sim.runtime import Runtime

STATE = 4


@kernel("SVDF")
def svdf(
    node: Node, x: Array, feature: Array, time: Array, bias: Array | None = None, *_: Array | None, runtime: Runtime
) -> Array:
    """Compute one step from an empty memory: features, their weights in time, the sum over the rank.

    Shapes: x (batch, inputs), feature (units * rank, inputs), time (units * rank, memory), bias (units,)
    -> (batch, units).
    """
    state = node.at(STATE)
    if not (is_quantized(node.x, "int8") and node.at(1).dtype == "int8" and is_quantized(state, "int8", "int16")):
        raise NoKernel(f"types {node.x.dtype} × {node.at(1).dtype}, state {state.dtype}")
    if state.dtype == "int8" and runtime is not Runtime.TFLM:
        raise NoKernel("LiteRT writes an int16 state over the int8 one of this file")
    zero = zero_point_of(state) if state.dtype == "int8" else 0
    sums = wrap_int32(matmul(centred(x, zero_point_of(node.x)), feature.astype(np.int64).T))
    inner, outer = (factor(node, k, runtime) for k in (1, 2))
    newest = (requantize(sums, inner, Rounding.GEMMLOWP) + zero).clip(*INTEGER_RANGE[state.dtype]) - zero
    weighted = newest * time.astype(np.int64)[:, -1]
    total = weighted.reshape(len(x), -1, int(node.option("rank", 1))).sum(axis=2)
    total = wrap_int32(total if bias is None else total + bias)
    y = requantize(total, outer, Rounding.GEMMLOWP) + zero_point_of(node.y)
    return y.clip(-128, 127).astype(np.int8)


def factor(node: Node, which: int, runtime: Runtime) -> Array:
    """Both multipliers, in float32, in TFLM in float64: input to state by the features, state to output by time."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    before, after = (node.x, node.at(STATE)) if which == 1 else (node.at(STATE), node.y)
    s_before, s_weights, s_after = (wide(scale_of(tensor)) for tensor in (before, node.at(which), after))
    return np.asarray(s_before * s_weights / s_after, np.float64)
