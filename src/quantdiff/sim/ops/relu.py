"""RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1: LiteRT ``tflite/kernels/activations.cc`` (``QuantizedReluX``).

xnnpack declines the quantized ones. tflm: ``tensorflow/lite/micro/kernels/activations.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, quantize
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import computed, without_minus
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, quant_of, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.runtime import Runtime

BOUNDS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}

VECTOR = 4
"""Floats that the compiled loop of RELU takes at once on ARM64, at its end."""


@kernel(*BOUNDS, batched=lambda node: node.x.dtype != "float32")
def relu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + (x - z_x) s_x / s_y)`` between the op's bounds. Shape as ``x``."""
    if node.x.dtype == "float32":
        low, high = BOUNDS[node.operator.op]
        y = computed(runtime, lambda v: np.clip(v, np.float32(low), np.float32(high)), x)
        return on_arm64(y, low, runtime) if runtime.on_arm64 else y
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM and node.operator.op == "RELU6":
        return x.clip(*bounds(node, quant_of(node.x))).astype(x.dtype)
    steps = requantize(centred(x, zero_point_of(node.x)), ratio(node, runtime), Rounding.GEMMLOWP)
    return (steps + zero_point_of(node.y)).clip(*bounds(node, quant_of(node.y))).astype(node.y.dtype)


def on_arm64(y: Array, low: float, runtime: Runtime) -> Array:
    """Without -0 where NEON clamps at 0: in XNNPACK all, in LiteRT whole vectors. Shape as ``y``."""
    body = y.size if runtime is Runtime.XNNPACK_ARM64 else y.size // VECTOR * VECTOR
    flat = y.reshape(-1)
    return np.concatenate([without_minus(flat[:body]), flat[body:]]).reshape(y.shape) if low == 0 else y


def ratio(node: Node, runtime: Runtime) -> Array:
    """``s_x / s_y``: a float32 division in LiteRT, a float64 one in TFLM of October 2026."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    return np.asarray(wide(scale_of(node.x)) / wide(scale_of(node.y)))


def bounds(node: Node, quant: QuantParams) -> tuple[int, int]:
    """The op's bounds as integers of ``quant``, inside the output's dtype."""
    low, high = INTEGER_RANGE[node.y.dtype]
    first, last = BOUNDS[node.operator.op]
    steps = [int(quantize(np.asarray(v, np.float32), quant, node.y.dtype)) for v in (first, min(last, 1e30))]
    return max(low, steps[0]), high if np.isinf(last) else min(high, steps[1])
