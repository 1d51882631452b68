"""Float inputs as int8, quantized anew for every row by its own range: three rules of rounding.

Sources: LiteRT ``tflite/kernels/internal/optimized/neon_tensor_utils.cc`` (``NeonSymmetricQuantizeFloats``,
``NeonAsymmetricQuantizeFloats``, on x86 through NEON_2_SSE, so that ``reference`` has them too); XNNPACK
``src/xnnpack/quantization.h`` (``xnn_f32_qd8_asymmetric_quantization_params``) and ``src/f32-qs8-vcvt``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array, round_half_away
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

VECTOR = 8
"""Values that the vectorised loop rounds together."""
LOW, HIGH = -128, 127
REACH = HIGH - LOW
"""The largest distance of an integer from its zero point."""
TINY, HUGE = 2.0**-64, 2.0**126
"""Beyond these, scales and products leave float32's normal numbers, which some kernels flush to 0."""


@dataclass(frozen=True, slots=True)
class DynamicInput:
    """Rows of integers, each with its own zero point and scale.

    Shapes: q (rows, n) as int32, zero_point (rows, 1) as int32, scale (rows, 1) as float32.
    """

    q: Array
    zero_point: Array
    scale: Array

    @property
    def centred(self) -> Array:
        """The integers minus their zero points."""
        return self.q - self.zero_point


def symmetric(x: Array, runtime: Runtime) -> DynamicInput:
    """Compute ``q = round(x * (127 / range))``, ``range`` the largest magnitude of the row. Shape: x (rows, n)."""
    reach = _reach(x)
    some = np.where(reach == 0, np.float32(HIGH), reach)  # a row of zeros gets the scale 1
    q = _round_steps(x * (np.float32(HIGH) / some), runtime).clip(-HIGH, HIGH)
    return DynamicInput(q, np.zeros_like(q[:, :1]), some / np.float32(HIGH))


def asymmetric(x: Array, runtime: Runtime) -> DynamicInput:
    """Compute ``q = z + round(x / s)``, the range of the row stretched to 0. Shape: x (rows, n)."""
    low, high, zero = _range(x)
    step = np.where(zero, 1.0, (high - low).astype(np.float64) / REACH)
    below, above = low / step, high / step
    nearer = np.where(np.abs(below) - LOW < np.abs(above) + HIGH, LOW - below, HIGH - above)
    zero_point = np.where(zero, 0, round_half_away(nearer.clip(LOW, HIGH))).astype(np.int32)
    scale = step.astype(np.float32)
    q = (_round_steps(x * (np.float32(1) / scale), runtime) + zero_point).clip(LOW, HIGH)
    return DynamicInput(q, zero_point, scale)


def xnnpack(x: Array, round_steps: Callable[[Array], Array] = np.rint) -> DynamicInput:
    """Compute ``q = z + round(x * (255 / range))``, all in float32. Shape: x (rows, n)."""
    low, high, zero = _range(x)
    inverse = np.float32(REACH) / np.where(zero, np.float32(REACH), high - low)
    below, above = low * inverse, high * inverse
    from_below = (LOW + below) + (HIGH + above) > 0
    zero_point = np.rint(np.where(from_below, LOW - below, HIGH - above).clip(LOW, HIGH)).astype(np.int32)
    q = round_steps(np.minimum(x * inverse, np.float32(2**15 - 1))).astype(np.int32) + zero_point
    return DynamicInput(q.clip(LOW, HIGH), zero_point, np.float32(1) / inverse)


def kleidi(x: Array) -> DynamicInput:
    """The same with halves away from zero: rows on ARM64 (KleidiAI's ``kai_lhs_quant_pack_qai8dxp_f32``)."""
    return xnnpack(x, lambda steps: round_half_away(steps.astype(np.float64)))


def _range(x: Array) -> tuple[Array, Array, Array]:
    """Least and largest value of each row, 0 included, and whether both are 0. Shapes: (rows, n) -> (rows, 1)."""
    _reach(x)
    low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
    high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
    return low, high, low == high


def _reach(x: Array) -> Array:
    """The largest magnitude of each row, 0 or one that float32 can scale. Shapes: (rows, n) -> (rows, 1)."""
    reach = np.abs(x).max(axis=1, keepdims=True)
    if not ((reach == 0) | ((reach > TINY) & (reach < HUGE))).all():
        raise NoKernel("float inputs all below 2**-64, beyond 2**126 or not finite: their scales leave float32")
    return np.asarray(reach)


def _round_steps(steps: Array, runtime: Runtime) -> Array:
    """Half away: by adding a half in float32 and cutting off, in the tail of a row by ``round``. Shape (rows, n).

    ARM64 has an instruction that rounds so (``vcvtaq_s32_f32``).
    """
    body = 0 if runtime.on_arm64 else steps.shape[1] // VECTOR * VECTOR
    half = np.where(steps < 0, np.float32(-0.5), np.float32(0.5))
    vectors, tail = np.trunc(steps + half)[:, :body], round_half_away(steps[:, body:].astype(np.float64))
    return np.concatenate([vectors, tail], axis=1).astype(np.int32)
