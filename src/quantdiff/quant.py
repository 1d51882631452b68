"""Affine quantization: ``real = scale * (q - zero_point)``, and the rules that lead there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantdiff.errors import NotComparable

Array = NDArray[Any]

INTEGER_RANGE = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}

SMALLEST_RANGE = 1e-6  # the converter's kNearZeroTolerance


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Affine map ``real = scale * (q - zero_point)``; ``scale`` is real units per step.

    One entry per tensor (``axis is None``) or one per slice along ``axis``.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    def along(self, ndim: int) -> tuple[Array, Array]:
        """Scale (float32) and zero point (int64), shaped to broadcast over a tensor of ``ndim`` axes."""
        shape = [1] * ndim
        if self.axis is not None:
            shape[self.axis] = -1
        scale, zero_point = np.asarray(self.scale, np.float32), np.asarray(self.zero_point, np.int64)
        if self.axis is None:
            return scale.reshape(()), zero_point.reshape(())
        return scale.reshape(shape), zero_point.reshape(shape)


def real_range(params: QuantParams, dtype: str, *, narrow: bool = False) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Smallest and largest real value of ``dtype``, per scale: ``scale * (low - zero_point)``, … ``high``.

    The scale is the file's float32, the product is a double: exact for all dtypes up to 16 bits, rounded once
    for int32. ``narrow`` leaves the lowest code out, as symmetric weights do.
    """
    low, high = INTEGER_RANGE[dtype]
    pairs = tuple(zip(params.scale, params.zero_point, strict=True))
    lows = tuple(scale * (low + narrow - zero_point) for scale, zero_point in pairs)
    return lows, tuple(scale * (high - zero_point) for scale, zero_point in pairs)


def round_half_away(x: Array) -> Array:
    """Round to the nearest integer, ties away from zero, as C's ``round`` does; exact in x's own dtype."""
    whole: Array = np.trunc(x)
    nearest: Array = whole + np.copysign(np.abs(x - whole) >= 0.5, x)  # noqa: PLR2004 (a half is a half)
    return nearest


def quantize(x: Array, params: QuantParams, dtype: str) -> Array:
    """Integers nearest to ``x``, ties away from zero, clipped to the range of ``dtype``.

    The rule of TFLite's reference kernel (``reference/quantize.h``, ``AffineQuantize``): a float32
    division, C ``round``, then the zero point. Shape as ``x``.

    Raises:
        NotComparable: ``x`` holds NaN, which has no integer.
    """
    scale, zero_point = params.along(x.ndim)
    steps = round_half_away(x.astype(np.float32, copy=False) / scale)
    if np.isnan(steps).any():
        raise NotComparable("NaN cannot be quantized: look for the layer that makes it")
    low, high = INTEGER_RANGE[dtype]
    # Clipping around the zero point first keeps the sum inside int64 whatever the division gave.
    moved = np.clip(steps.astype(np.float64), low - zero_point, high - zero_point) + zero_point
    return moved.astype(dtype)


def dequantize(q: Array, params: QuantParams) -> Array:
    """Real values ``scale * (q - zero_point)`` as float32. Shape as ``q``."""
    scale, zero_point = params.along(q.ndim)
    return ((q.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)


class Nudged(NamedTuple):
    """Ranges as a rule moves them so that 0.0 has an integer: arrays, one entry per range.

    ``zero_point`` is that of the signed type (int8 for 8 bits); ``low`` and ``high`` are the ends of the integers.
    """

    low: Array
    high: Array
    scale: Array
    zero_point: Array


def nudge_fake_quant(low: Array, high: Array, *, bits: int = 8, narrow: bool = False) -> Nudged:
    """What TensorFlow's fake-quant uses on a CPU, eager or in a graph; all in float32, ties away from zero.

    ``Nudge`` in ``tensorflow/core/kernels/fake_quant_ops_functor.h``. A min above or a max below 0 keeps its
    width and is shifted. Bit for bit what ``fake_quant_with_min_max_vars`` clips to.
    """
    first, last = np.float32(narrow), np.float32(2**bits - 1)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    scale = (high - low) / (last - first)
    zero_point = np.clip(round_half_away(first - low / scale), first, last)
    return Nudged((first - zero_point) * scale, (last - zero_point) * scale, scale, _signed(zero_point, bits))


def nudge_converter(low: Array, high: Array, *, bits: int = 8, narrow: bool = False) -> Nudged:
    """What the TFLite converter stores for a fake-quant op: in double, ties away from zero, scale float32 at last.

    ``GetQuantizedType`` in ``lite/quantization/common/quantization_lib/quantization_utils.cc`` widens ranges up to
    1e-6; ``getNudgedScaleAndZeroPoint`` in ``quantization/common/ir/FakeQuantSupport.cc`` (below
    ``tensorflow/compiler/mlir``) takes the zero point from the end that adds the smaller error. It counts from 0
    to 255 and shifts to int8 afterwards: a tie at a negative zero point goes up.
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
    scale = scale.astype(np.float32)
    return Nudged((first - zero_point) * scale, (last - zero_point) * scale, scale, _signed(zero_point, bits))


def fake_quant(x: Array, nudged: Nudged, *, bits: int = 8, narrow: bool = False) -> Array:
    """``x`` as TensorFlow's fake-quant returns it; ranges belong to the last axis where there are several."""
    low, high, scale, _ = nudged
    inverse = np.float32(2**bits - 1 - narrow) / np.float32(high - low)
    zero = np.floor(-low * inverse + np.float32(0.5))
    clipped = np.clip(x.astype(np.float32), low, high) - low
    rounded: Array = np.floor(clipped * inverse - zero + np.float32(0.5)) * scale
    return rounded


def _signed(zero_point: Array, bits: int) -> Array:
    return np.asarray(zero_point.astype(np.int64) - 2 ** (bits - 1))
