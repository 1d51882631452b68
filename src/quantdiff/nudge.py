"""From a min and max to a scale and zero point: each rule by name, bit for bit, because no two of them agree.

A range is moved so that 0.0 has an integer. The rules differ in precision (float32, double, or half of each), in the
integers they count in (0 … 255 or −128 … 127, so that a tie goes another way) and in when they round the scale.
All take and give arrays, one entry per range, min below max. Paths are below ``tensorflow/``, as of TensorFlow 2.21;
the tests hold every rule against the real thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from quantdiff.quant import Array, round_half_away

SMALLEST_RANGE = 1e-6  # the converter's kNearZeroTolerance


class Nudged(NamedTuple):
    """Ranges as a rule moves them: ``low`` and ``high`` belong to the first and the last integer.

    ``zero_point`` counts in the signed type, int8 for 8 bits.
    """

    low: Array
    high: Array
    scale: Array
    zero_point: Array


def nudge_fake_quant(low: Array, high: Array, *, bits: int = 8, narrow: bool = False) -> Nudged:
    """``FakeQuantWithMinMaxVars`` on a CPU, eager or in a graph: float32, counted from 0, ties away from zero.

    ``Nudge`` in ``core/kernels/fake_quant_ops_functor.h``. ``low`` and ``high`` are what the op clips to.
    A range that lies wholly on one side of 0 keeps its width and is shifted.
    """
    first, last = np.float32(narrow), np.float32(2**bits - 1)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    scale = (high - low) / (last - first)
    zero_point = np.clip(round_half_away(first - low / scale), first, last)
    return Nudged((first - zero_point) * scale, (last - zero_point) * scale, scale, _signed(zero_point, bits))


def nudge_fake_quant_xla(low: Array, high: Array, *, bits: int = 8, narrow: bool = False) -> Nudged:
    """The same op compiled by XLA for a CPU: the scale is a product with 1/255, and the top is rounded once more.

    ``XlaNudge`` and ``Quantize`` in ``compiler/tf2xla/kernels/fake_quantize_ops.cc``. Ties go away from zero.
    XLA adds ``low`` last, fused with the product: 0.0 comes out as a rounding error, exact only where ``low`` is.
    """
    first, last = np.float32(narrow), np.float32(2**bits - 1)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    scale = (high - low) * (np.float32(1) / (last - first))
    zero_point = np.clip(round_half_away(first - low / scale), first, last)
    bottom, top = (first - zero_point) * scale, (last - zero_point) * scale
    steps = np.floor((top - bottom) * (np.float32(1) / scale) + np.float32(0.5))
    top = (steps.astype(np.float64) * scale + bottom).astype(np.float32)
    return Nudged(bottom, top, scale, _signed(zero_point, bits))


def nudge_converter(low: Array, high: Array, *, bits: int = 8, narrow: bool = False) -> Nudged:
    """What the TFLite converter stores for a fake-quant op: double, counted from 0, the scale float32 at last.

    ``GetQuantizedType`` in ``compiler/mlir/lite/quantization/common/quantization_lib/quantization_utils.cc`` widens
    ranges up to 1e-6; ``getNudgedScaleAndZeroPoint`` in ``compiler/mlir/quantization/common/ir/FakeQuantSupport.cc``
    takes the zero point from the end that adds the smaller error.
    """
    first, last = float(narrow), float(2**bits - 1)
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    tiny = high - low <= SMALLEST_RANGE
    low = np.where(tiny, np.minimum(low, -SMALLEST_RANGE / 2), low)
    high = np.where(tiny, np.maximum(high, SMALLEST_RANGE / 2), high)
    scale = (high - low) / (last - first)
    is_low_better = first + np.abs(low / scale) < last + np.abs(high / scale)
    exact = np.where(is_low_better, first - low / scale, last - high / scale)
    zero_point = np.clip(round_half_away(exact), first, last)
    return _stored(scale.astype(np.float32), zero_point - 2 ** (bits - 1), bits, narrow=narrow)


def nudge_calibrated(low: Array, high: Array) -> Nudged:
    """What the converter stores after calibration: scale float32, quotient double, counted from −128.

    ``DownCastScale`` in ``compiler/mlir/lite/quantization/common/quantization_lib/quantization_utils.cc``.
    """
    low, high = _with_zero(low, high)
    scale = (high - low) / np.float32(255)
    exact = (-128 - low.astype(np.float64) / scale.astype(np.float64)).astype(np.float32)
    return _stored(scale, np.clip(round_half_away(exact), -128, 127))


def nudge_asymmetric(low: Array, high: Array) -> Nudged:
    """What the old quantizer stores after calibration (``experimental_new_quantizer = False``): all in float32.

    ``GetAsymmetricQuantizationParams`` in ``lite/tools/optimize/quantization_utils.cc``.
    """
    low, high = _with_zero(low, high)
    scale = (high - low) / np.float32(255)
    return _stored(scale, np.clip(round_half_away(np.float32(-128) - low / scale), -128, 127))


def nudge_symmetric(low: Array, high: Array) -> Nudged:
    """Weights after training: the larger end is 127, the zero point 0, −128 is not used.

    ``SymmetricPerChannelQuantization`` in ``lite/tools/optimize/quantization_utils.cc``; the new quantizer's
    ``GetUniformQuantizedPerAxisTypeForWeight`` comes to the same.
    """
    half = np.maximum(np.abs(np.asarray(low, np.float32)), np.abs(np.asarray(high, np.float32)))
    return _stored(half / np.float32(127), np.zeros(half.shape), narrow=True)


def nudge_paper(
    low: Array, high: Array, *, levels: int = 256, ties: Callable[[Array], Array] = round_half_away
) -> Nudged:
    """Section 3 of arXiv:1712.05877: ``s = (b - a) / (n - 1)``, and ``a``, ``b`` moved so that 0.0 is an integer.

    In double. The paper says neither how to move them nor where ties go: the nearest integer to ``-a / s`` is taken,
    a tie as ``ties`` has it (``np.rint`` rounds half to even). Zero points count from −128 for 256 levels.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scale = (high - low) / (levels - 1)
    zero_point = np.clip(ties(-low / scale), 0, levels - 1)
    ends = -zero_point * scale, (levels - 1 - zero_point) * scale
    return Nudged(*ends, scale, np.asarray(zero_point.astype(np.int64) - levels // 2))


def fake_quant(x: Array, nudged: Nudged, *, bits: int = 8, narrow: bool = False) -> Array:
    """``x`` as ``FakeQuantWithMinMaxVars`` returns it; several ranges belong to the last axis.

    ``nudged`` comes from ``nudge_fake_quant``, with the same bits and narrowness.
    """
    inverse = np.float32(2**bits - 1 - narrow) / np.float32(nudged.high - nudged.low)
    zero = np.floor(-nudged.low * inverse + np.float32(0.5))
    shifted = np.clip(x.astype(np.float32), nudged.low, nudged.high) - nudged.low
    rounded: Array = np.floor(shifted * inverse - zero + np.float32(0.5)) * nudged.scale
    return rounded


def _with_zero(low: Array, high: Array) -> tuple[Array, Array]:
    """The range as float32, widened to hold 0.0."""
    return np.minimum(np.asarray(low, np.float32), 0), np.maximum(np.asarray(high, np.float32), 0)


def _stored(scale: Array, zero_point: Array, bits: int = 8, *, narrow: bool = False) -> Nudged:
    """Ends as the stored float32 scale gives them, in double."""
    first, last = -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    real = scale.astype(np.float64)
    return Nudged(
        (first - zero_point) * real, (last - zero_point) * real, scale, np.asarray(zero_point.astype(np.int64))
    )


def _signed(zero_point: Array, bits: int) -> Array:
    return np.asarray(zero_point.astype(np.int64) - 2 ** (bits - 1))
