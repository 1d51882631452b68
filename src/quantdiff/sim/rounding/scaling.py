"""Multipliers and ways to scale an exact sum to a whole number of steps, also beyond those of the runtimes.

A way has a multiplier, an ending and a scale. The multiplier is the scale as so many bits; ``twice`` is gemmlowp's,
which rounds the product to 32 bits half up before the shift. The ending says where the rest goes. Five of them have a
letter in ``docs/numerics.md``. All are monotone: a larger sum never gives less (``identifying/equal.py`` needs that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.node import Node, NoKernel, zero_point_of
from quantdiff.sim.rounding.fixed_point import ONE_HALF_Q31, quantize_multiplier


def refuse_wrapping_zero_points(node: Node) -> None:
    """Ruy and its kin hold a zero point in the type of its matrix: of -300 in int8 they make -44."""
    for tensor in (node.x, node.at(1), node.y):
        low, high = INTEGER_RANGE[tensor.dtype]
        if not low <= zero_point_of(tensor) <= high:
            point = f"zero point {zero_point_of(tensor)} of {tensor.label!r}"
            raise NoKernel(f"{point}: {tensor.dtype} has no such value, and builtin's products keep its low 8 bits")


AFTER = "-after-zero-point"
"""The zero point is added before the ending, which then counts from 0."""
ENDINGS = ("half-up", "half-away", "half-even", "floor", "truncate")
SHIFTING = ("half-away", "half-even", "truncate")
"""Endings that the zero point can change."""
DIVISION = "division"
"""By how many values were added up, whole numbers throughout."""
MULTIPLIERS = ("twice", "int32", "int16", "int16-cut", "uint16", "float32", "float64", DIVISION)
LETTERS: Mapping[str, str] = MappingProxyType(
    {
        "G": "twice half-away",
        "R": "twice half-up",
        "S": "int32 half-up",
        "X": "float32 half-even",
        "D": "float64 half-away",
    }
)
SHIFT_AT_MOST = 55
"""Bits below which a zero point of 8 bits still fits an int64 beside the product."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way; ``scale`` names how ``s_x s_w / s_y`` was computed (``sim/rounding/exact_sums.py``)."""

    multiplier: str
    ending: str
    scale: str

    @property
    def name(self) -> str:
        """Its letter, or its words; the scale where it is not the usual one."""
        words = f"{self.multiplier} {self.ending}"
        letter = next((letter for letter, way in LETTERS.items() if way == words), words)
        return letter if self.scale == usual_scale(self.multiplier) else f"{letter}, scale {self.scale}"


def way_named(name: str) -> Way | None:
    """The way of that name; None where there is none."""
    words, _, scale = name.partition(", scale ")
    multiplier, _, ending = LETTERS.get(words, words).partition(" ")
    known = multiplier in MULTIPLIERS and ending in all_endings()
    return Way(multiplier, ending, scale or usual_scale(multiplier)) if known else None


def usual_scale(multiplier: str) -> str:
    """How the scale is computed that a multiplier is made of, where nothing else is said."""
    return "float32" if multiplier == "float32" else "double"


def all_endings() -> tuple[str, ...]:
    """Every ending, those after the zero point too."""
    return (*ENDINGS, *(ending + AFTER for ending in SHIFTING))


def scale_sums(acc: Array, scale: Array, way: Way, zero_point: int) -> Array:
    """``acc * scale`` as the way has it, zero point added, before the clamp. Shapes: scale broadcasts against acc.

    Raises:
        NoKernel: the numbers do not fit the registers of the way.
    """
    ending, after = way.ending.removesuffix(AFTER), way.ending.endswith(AFTER)
    if way.multiplier in ("float32", "float64"):
        t = acc.astype(way.multiplier) * np.asarray(scale).astype(way.multiplier)
        steps = FLOATS[ending](t + np.asarray(zero_point, t.dtype) if after else t).astype(np.int64)
    elif way.multiplier == DIVISION:
        steps = _divided(acc.astype(np.int64), np.rint(1 / np.asarray(scale)).astype(np.int64), ending)
    else:
        product, shift = _product(acc.astype(np.int64, copy=False), np.asarray(scale, np.float64), way.multiplier)
        if after and int(np.max(shift, initial=0)) > SHIFT_AT_MOST:
            raise NoKernel("a multiplier too small for a zero point beside it")
        steps = INTEGERS[ending](product + (np.int64(zero_point) << shift) if after else product, shift)
    return steps if after else steps + zero_point


def _product(acc: Array, scale: Array, multiplier: str) -> tuple[Array, Array]:
    """The whole product, and by how many bits it is too large."""
    mantissa, shift = quantize_multiplier(scale)
    if multiplier == "twice":
        shifted = acc << np.maximum(shift, 0)
        _check_int32(shifted)
        return (shifted * mantissa + ONE_HALF_Q31) >> 31, np.maximum(-shift, 0)
    bits, short = {
        "int32": (31, mantissa),
        "int16": (15, np.minimum((mantissa + (1 << 15)) >> 16, 2**15 - 1)),
        "int16-cut": (15, mantissa >> 16),
        "uint16": (16, np.minimum((mantissa + (1 << 14)) >> 15, 2**16 - 1)),
    }[multiplier]
    if bits == 31:  # noqa: PLR2004 (the product of two int32)
        _check_int32(acc)
    right = bits - shift
    return acc * short << np.maximum(-right, 0), np.maximum(right, 0)


def _check_int32(acc: Array) -> None:
    if acc.size and (int(acc.min()) < -(2**31) or int(acc.max()) >= 2**31):
        raise NoKernel("a sum of more than 32 bits")


def _divided(total: Array, count: Array, ending: str) -> Array:
    """``total / count`` for a positive count, exact until the ending."""
    down, twice = total // count, 2 * (total % count)
    up: dict[str, Array] = {
        "half-up": twice >= count,
        "half-away": (twice > count) | ((twice == count) & (total >= 0)),
        "half-even": (twice > count) | ((twice == count) & (down & 1 == 1)),
        "floor": np.zeros_like(twice, bool),
        "truncate": (twice > 0) & (total < 0),
    }
    return np.asarray(down + up[ending])


def _half_up(p: Array, shift: Array) -> Array:
    return np.asarray((p + ((np.int64(1) << shift) >> 1)) >> shift)


def _half_away(p: Array, shift: Array) -> Array:
    return np.asarray((p + ((np.int64(1) << shift) >> 1) - ((p < 0) & (shift > 0))) >> shift)


def _half_even(p: Array, shift: Array) -> Array:
    down = p >> shift
    rest, half = p - (down << shift), (np.int64(1) << shift) >> 1
    return np.asarray(down + ((rest > half) | ((rest == half) & (shift > 0) & (down & 1 == 1))))


def _floor(p: Array, shift: Array) -> Array:
    return p >> shift


def _truncate(p: Array, shift: Array) -> Array:
    return np.where(p < 0, -(-p >> shift), p >> shift)


INTEGERS: dict[str, Callable[[Array, Array], Array]] = {
    "half-up": _half_up,
    "half-away": _half_away,
    "half-even": _half_even,
    "floor": _floor,
    "truncate": _truncate,
}
FLOATS: dict[str, Callable[[Array], Array]] = {
    "half-up": lambda t: np.asarray(np.floor(t + np.asarray(0.5, t.dtype))),
    "half-away": round_half_away,
    "half-even": np.rint,
    "floor": np.floor,
    "truncate": np.trunc,
}
"""Of floats, in their own type; half up is ``floor(t + 0.5)``, whose sum may round, as in C."""
