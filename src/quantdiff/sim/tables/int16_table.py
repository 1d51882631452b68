"""int16 logistic and tanh by a table of 256 sigmoids and linear interpolation.

Source: ``tflite/kernels/internal/reference/integer_ops/{logistic,tanh}.h`` and ``internal/common.h``
(``sigmoid_table_uint16``). Its entries are the sigmoid of i/24 in 1/65536, raised by half of what a chord
loses to the curve at most, an eighth of the second difference, so that interpolation errs evenly.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, scale_of

LAST = 255
NEARLY = 1e-3


def sigmoids() -> Array:
    """The table. Shape: (256,)."""
    exact = 65536 / (1 + np.exp(-np.arange(-1, LAST + 2) / 24))
    loss = (2 * exact[1:-1] - exact[2:] - exact[:-2]) / 8
    table = np.round(exact[1:-1] + loss / 2).astype(np.int64)
    table[LAST] = 65535
    return table


SIGMOIDS = sigmoids()


def scaled(x: Array, multiplier: int, left_shift: int) -> Array:
    """The input at 3/4 of Q4: 24 table entries to one. ``multiplier`` 0 stands for a power of two."""
    if multiplier == 0:
        return x.astype(np.int64) * (3 << left_shift)
    half = 1 << (left_shift - 1) if left_shift > 0 else 0
    return (x.astype(np.int64) * multiplier + half) >> left_shift


def interpolated(x: Array, bits: int, saturated: int) -> Array:
    """The table at ``|x|``, whose low ``bits`` bits are the fraction, in ``2**bits`` of its units."""
    entry = np.minimum(np.abs(x) >> bits, LAST)
    low, high = SIGMOIDS[entry], SIGMOIDS[np.minimum(entry + 1, LAST)]
    value = (low << bits) + (np.abs(x) & ((1 << bits) - 1)) * (high - low)
    return np.where(entry >= LAST, saturated, value)


def logistic(x: Array, multiplier: int = 0, left_shift: int = 0) -> Array:
    """``1 / (1 + exp(-x))`` in Q0.15. Shape as ``x``."""
    place = scaled(x, multiplier, left_shift)
    value = interpolated(place, 9, 0x7FFF << 10)
    return np.where(place >= 0, value + (1 << 9), (1 << 25) - value + (1 << 9) - 1) >> 10


def tanh(x: Array, multiplier: int = 0, left_shift: int = 0) -> Array:
    """``tanh(x)`` in Q0.15. Shape as ``x``."""
    place = scaled(x, multiplier, left_shift)
    value = interpolated(place, 8, 0xFFFF << 8)
    return np.where(place >= 0, value - (1 << 23) + (1 << 7), -value + (1 << 23) + (1 << 7) - 1) >> 8


def how_scaled(node: Node, powers: tuple[int, ...]) -> tuple[int, int]:
    """Multiplier and left shift that take the input to three table units a 1/4096 (``SigmoidPrepare``).

    A scale that is a power of two, ``2**(p - 12)`` with p in ``powers``, gives multiplier 0.
    """
    scale = scale_of(node.x)
    log = np.log(scale) * np.float32(1 / np.log(np.float32(2)))
    power = round(float(log))
    if abs(float(log) - power) < NEARLY and power + 12 in powers:
        return 0, power + 12
    multiplier, shift = float(scale) * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:  # noqa: PLR2004 (as many bits as int16 and int32 hold)
        multiplier, shift = multiplier * 2, shift + 1
    return int(multiplier), shift
