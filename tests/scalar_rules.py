"""Ways to scale a sum, one element at a time in exact fractions: what a device might do, written without our code."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

ENDINGS: dict[str, Callable[[Fraction], int]] = {
    "half-up": lambda t: math.floor(t + Fraction(1, 2)),
    "half-away": lambda t: int(math.copysign(1, t)) * math.floor(abs(t) + Fraction(1, 2)),
    "half-even": round,
    "floor": math.floor,
    "truncate": math.trunc,
}


def mantissa(scale: float, bits: int) -> tuple[int, int]:
    """The scale as an integer of so many bits and an exponent, to the nearest."""
    fraction, exponent = math.frexp(scale)
    number = math.floor(fraction * 2**bits + 0.5)
    return (number // 2, exponent + 1) if number == 2**bits else (number, exponent)


def by_integers(total: int, scale: float, bits: int, ending: str) -> int:
    """One product, one rounding."""
    number, exponent = mantissa(scale, bits)
    return ENDINGS[ending](Fraction(total * number) * Fraction(2) ** (exponent - bits))


def twice(total: int, scale: float, ending: str) -> int:
    """The product rounded half up after 31 bits, then the rest."""
    number, exponent = mantissa(scale, 31)
    high = math.floor(Fraction(total * 2 ** max(exponent, 0) * number, 2**31) + Fraction(1, 2))
    return ENDINGS[ending](Fraction(high, 2 ** max(-exponent, 0)))


def by_floats(total: int, scale: float, dtype: type[np.float32] | type[np.float64], ending: str) -> int:
    """One product of floats."""
    return ENDINGS[ending](Fraction(float(dtype(total) * dtype(scale))))


DEVICES: dict[str, Callable[[int, float], int]] = {
    "G": lambda total, scale: twice(total, scale, "half-away"),
    "R": lambda total, scale: twice(total, scale, "half-up"),
    "S": lambda total, scale: by_integers(total, scale, 31, "half-up"),
    "X": lambda total, scale: by_floats(total, scale, np.float32, "half-even"),
    "D": lambda total, scale: by_floats(total, scale, np.float64, "half-away"),
    "twice half-even": lambda total, scale: twice(total, scale, "half-even"),
    "twice floor": lambda total, scale: twice(total, scale, "floor"),
    "int32 half-even": lambda total, scale: by_integers(total, scale, 31, "half-even"),
    "int32 floor": lambda total, scale: by_integers(total, scale, 31, "floor"),
    "int32 truncate": lambda total, scale: by_integers(total, scale, 31, "truncate"),
    "int16 half-up": lambda total, scale: by_integers(total, scale, 15, "half-up"),
    "int16 half-away": lambda total, scale: by_integers(total, scale, 15, "half-away"),
    "uint16 half-up": lambda total, scale: by_integers(total, scale, 16, "half-up"),
    "float32 half-away": lambda total, scale: by_floats(total, scale, np.float32, "half-away"),
    "float32 truncate": lambda total, scale: by_floats(total, scale, np.float32, "truncate"),
    "float64 half-even": lambda total, scale: by_floats(total, scale, np.float64, "half-even"),
    "float64 floor": lambda total, scale: by_floats(total, scale, np.float64, "floor"),
}
"""Devices by the name that ``identify`` has for their rule."""
