"""From sums to outputs, for several runtimes at once: each block is rounded by every rule while it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Sums
from quantdiff.sim.compiled import loops
from quantdiff.sim.fixed_point import Rounding, quantize_multiplier, requantize
from quantdiff.sim.node import Node, clamp_of, zero_point_of
from quantdiff.sim.runtime import Runtime

Stage = Callable[[Array, Array, Array], None]
"""Rounds one block: (block, offset, where to write)."""


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
        output, scale = (self.zero_point, *self.clamp), np.asarray(self.scale)
        if compiled is not None and self.rounding is Rounding.XNNPACK and not self.tail:
            narrow = scale.astype(np.float32)
            return lambda block, offset, y: compiled.by_float(block, offset, narrow, output, y)
        if compiled is not None and self.rounding in (Rounding.GEMMLOWP, Rounding.RUY):
            mantissa, shift = quantize_multiplier(scale)
            multiplier = mantissa, np.maximum(shift, 0), np.maximum(-shift, 0), self._ties_away(shift)
            enlarged = bool(np.any(shift > 0))
            return lambda block, offset, y: compiled.by_shifts(block, offset, multiplier, enlarged, output, y)
        return self._in_numpy

    def _ties_away(self, shift: Array) -> Array:
        """1 for each channel that shifts right by rule G, where ties go away from zero. Shape as ``shift``."""
        by_g = np.arange(shift.size) >= shift.size - self.tail
        return ((shift < 0) & (by_g | (self.rounding is Rounding.GEMMLOWP))).astype(np.int64)

    def _in_numpy(self, block: Array, offset: Array, y: Array) -> None:
        acc = block.astype(np.int32) + offset  # wraps as C++ does
        body, scale = len(self.scale) - self.tail, np.asarray(self.scale)
        for part, rounding in ((slice(0, body), self.rounding), (slice(body, None), Rounding.GEMMLOWP)):
            steps = requantize(acc[:, part], scale[part], rounding) + self.zero_point
            y[:, part] = steps.clip(*self.clamp)


def requantization(
    node: Node, runtime: Runtime, rounding: Rounding, scale: ArrayLike, tail: int = 0, *, channels: int
) -> Requantization:
    """The rule with zero point, clamp and type of the node's output."""
    per_channel = tuple(np.broadcast_to(scale, (channels,)).tolist())
    return Requantization(rounding, per_channel, zero_point_of(node.y), clamp_of(node, runtime), node.y.dtype, tail)


def round_sums(sums: Sums, rules: Sequence[Requantization]) -> tuple[Array, ...]:
    """An output per rule; equal rules share one array. Shapes: sums (rows, channels) -> the same each."""
    shape = sums.rows, sums.offset.size
    if any(len(rule.scale) != sums.offset.size for rule in rules):
        raise ValueError(f"{sums.offset.size} biases for {len(rules[0].scale)} channels")
    compiled = loops(sums.rows * sums.offset.size)
    outputs = {rule: np.empty(shape, rule.dtype) for rule in rules}
    work = [(rule.stage(compiled), y) for rule, y in outputs.items()]
    row = 0
    for block in sums.blocks:
        if block.shape[1] != sums.offset.size:  # compiled loops do not look
            raise ValueError(f"{sums.offset.size} biases for {block.shape[1]} channels")
        for stage, y in work:
            stage(block, sums.offset, y[row : row + len(block)])
        row += len(block)
    return tuple(outputs[rule] for rule in rules)
