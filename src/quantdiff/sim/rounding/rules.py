"""How sums become outputs: a rule for each runtime, and what computes it, compiled or in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Block
from quantdiff.sim.node import Node, clamp_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    ONE_HALF_Q31,
    Rounding,
    defined_multiplier,
    quantize_multiplier,
    requantize,
)
from quantdiff.sim.rounding.scales import by_xnnpack, convolution_scale
from quantdiff.sim.runtime import Runtime

FAR = 20
"""Right shift up to which ``loops.BEYOND`` stays beyond 8 bits."""
Stage = Callable[[Block, Array, Sequence[Array]], None]
"""Rounds one block: (block, offset, where to write), one array for each of its rules."""


@dataclass(frozen=True, slots=True)
class Requantization:
    """How sums become the output of one runtime: scaled by a rule, then zero point and clamp.

    ``scale`` is per channel. The last ``tail`` channels round by GEMMLOWP: a vectorised loop leaves them over.
    """

    rounding: Rounding
    scale: tuple[float, ...]
    zero_point: int
    clamp: tuple[int, int]
    dtype: str
    tail: int = 0

    def stage(self, compiled: ModuleType | None) -> Stage:
        """The rounding with all that does not depend on the block worked out."""
        return (compiled and self.loop(compiled)) or (lambda block, offset, ys: self._in_numpy(block, offset, ys[0]))

    def loop(self, compiled: ModuleType) -> Stage | None:
        """The same as machine code; None where there is none."""
        output = (self.zero_point, *self.clamp)
        if self.rounding is Rounding.XNNPACK and not self.tail:
            narrow = np.asarray(self.scale, np.float32)
            return lambda block, offset, ys: compiled.by_float(block, offset, narrow, output, ys[0])
        halving = self.halving()
        if halving is not None:
            return lambda block, offset, ys: compiled.by_halving(block, offset, *halving, output, ys[0])
        if self._fits_int32():
            shifts = self._shifts()
            return lambda block, offset, ys: compiled.by_shifts(block, offset, *shifts, output, ys[0])
        return None

    def stage_with_ties_away(self, compiled: ModuleType) -> Stage:
        """Rule R, and rule G on the same product, at once."""
        output, halving = (self.zero_point, *self.clamp), self.halving()
        assert halving is not None
        multiplier, (bounded, _) = halving
        return lambda block, offset, ys: compiled.by_halving_twice(
            block, offset, multiplier, bounded, output, (ys[0], ys[1])
        )

    def has_twin(self, other: Requantization) -> bool:
        """True when the other is rule G where this one is rule R, all else is the same, and both can be had at once."""
        if (self.rounding, self.tail, other.rounding) != (Rounding.RUY, 0, Rounding.GEMMLOWP):
            return False
        return other == replace(self, rounding=Rounding.GEMMLOWP) and self.halving() is not None

    def halving(self) -> tuple[Array, tuple[bool, int]] | None:
        """What ``loops.by_halving`` takes, or None where it cannot do this."""
        if self.rounding not in (Rounding.GEMMLOWP, Rounding.RUY):
            return None
        multiplier = _halving(self.scale)
        away = self.tail if self.rounding is Rounding.RUY else len(self.scale)
        return None if multiplier is None else (multiplier[0], (multiplier[1], away))

    def _fits_int32(self) -> bool:
        """True for the rules by shifts, as long as no scaled sum can leave an int32."""
        return self.rounding in (Rounding.GEMMLOWP, Rounding.RUY, Rounding.NEON) or (
            self.rounding is Rounding.SINGLE and not self.tail and max(self.scale, default=0.0) < 1
        )

    def _shifts(self) -> tuple[tuple[Array, ...], bool]:
        """The multiplier as ``loops.by_shifts`` takes it, and whether some sum is shifted left."""
        mantissa, shift = quantize_multiplier(np.asarray(self.scale))
        if self.rounding is Rounding.SINGLE:
            half = (np.int64(1) << (30 - shift)) - ONE_HALF_Q31
            return (mantissa, np.zeros_like(shift), half, 31 - shift, np.zeros_like(shift)), False
        if self.rounding is Rounding.NEON:
            left, right = np.maximum(shift + 1, 0), np.maximum(-shift, 1)
            half = (np.int64(1) << (30 + right)) - ONE_HALF_Q31
            return (mantissa, left, half, right + 31, np.zeros_like(shift)), bool(np.any(left))
        left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
        by_g = (np.arange(shift.size) >= shift.size - self.tail) | (self.rounding is Rounding.GEMMLOWP)
        ties = np.where(by_g & (right > 0), -(np.int64(1) << 31), np.int64(0))
        half = ((np.int64(1) << right) >> 1) << 31
        return (mantissa, left, half, right + 31, ties), bool(np.any(left))

    def _in_numpy(self, block: Block, offset: Array, y: Array) -> None:
        assert isinstance(block, np.ndarray)
        acc = block.astype(np.int32) + offset  # wraps as C++ does
        body, scale = len(self.scale) - self.tail, np.asarray(self.scale)
        for part, rounding in ((slice(0, body), self.rounding), (slice(body, None), Rounding.GEMMLOWP)):
            steps = requantize(acc[:, part], scale[part], rounding) + self.zero_point
            y[:, part] = steps.clip(*self.clamp)


@lru_cache(maxsize=512)
def _halving(scale: tuple[float, ...]) -> tuple[Array, bool] | None:
    """Mantissas and right shifts less 1, and whether some shift is 1; None where one is 0, or 1 beside one too far.

    Kept, since the samples of one model come in parts.
    """
    mantissa, shift = quantize_multiplier(np.asarray(scale))
    bounded = bool(np.any(shift == -1))
    if np.any((shift >= 0) | (mantissa == 0)) or (bounded and np.any(shift < -FAR)):
        return None
    return np.stack([mantissa, -shift - 1]).astype(np.int32), bounded


def requantization(
    node: Node, runtime: Runtime, rounding: Rounding, scale: ArrayLike, *, channels: int
) -> Requantization:
    """The rule with zero point, clamp and type of the node's output.

    Raises:
        NoKernel: a multiplier is one that C does not define.
    """
    per_channel = tuple(np.broadcast_to(scale, (channels,)).tolist())
    if rounding not in (Rounding.XNNPACK, Rounding.DOUBLE):
        defined_multiplier(per_channel)
    return Requantization(rounding, per_channel, zero_point_of(node.y), clamp_of(node, runtime), node.y.dtype)


def convolution_rules(
    node: Node, roundings: Mapping[Runtime, Rounding], channels: int, tail: int = 0
) -> tuple[Requantization, ...]:
    """The rule of each runtime; scale and clamp are XNNPACK's or those of all others.

    ``tail`` channels are left over where rule R works on vectors.
    """
    made: dict[bool, Requantization] = {}
    for runtime, rounding in roundings.items():
        if by_xnnpack(runtime) not in made:
            scale = convolution_scale(node, runtime)
            made[by_xnnpack(runtime)] = requantization(node, runtime, rounding, scale, channels=channels)
    return tuple(
        replace(made[by_xnnpack(runtime)], rounding=rounding, tail=tail if rounding is Rounding.RUY else 0)
        for runtime, rounding in roundings.items()
    )


def stages(rules: Sequence[Requantization], compiled: ModuleType | None) -> list[tuple[Stage, tuple[int, ...]]]:
    """What rounds which of the rules: all of them, in pairs where two can share their product."""
    work: list[tuple[Stage, tuple[int, ...]]] = []
    left = list(range(len(rules)))
    while left:
        i = left.pop(0)
        twins = [(a, b) for j in left for a, b in ((i, j), (j, i)) if rules[a].has_twin(rules[b])]
        if compiled is not None and twins:
            left.remove(next(k for k in twins[0] if k != i))
            work.append((rules[twins[0][0]].stage_with_ties_away(compiled), twins[0]))
        else:
            work.append((rules[i].stage(compiled), (i,)))
    return work
