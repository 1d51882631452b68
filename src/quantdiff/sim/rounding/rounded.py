"""From sums to outputs, for several runtimes at once: each block is rounded by every rule while it is in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Block, Sums
from quantdiff.sim.compiled import loops
from quantdiff.sim.rounding.rules import Requantization, in_lanes, whole_lanes


@dataclass(frozen=True, slots=True)
class Rounded:
    """The outputs of several runtimes whose sums are the same, to be asked for once.

    ``rules`` is one per runtime; ``shape`` that of each output.
    """

    sums: Sums
    rules: tuple[Requantization, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Compiled loops do not look."""
        if any(len(rule.scale) != self.sums.offset.size for rule in self.rules):
            raise ValueError(f"{self.sums.offset.size} biases for {len(self.rules[0].scale)} channels")

    def whole(self) -> tuple[Array, ...]:
        """An output per rule; equal rules share one array."""
        distinct, which = self._distinct()
        outputs = [self._empty(rule, self.sums.rows) for rule in distinct]
        self._round(distinct, outputs)
        return tuple(outputs[i].reshape(self.shape) for i in which)

    def first_and_differing(self) -> tuple[Array, tuple[int, ...]]:
        """The first output, and how many elements each gives otherwise: the others exist a block at a time."""
        distinct, which = self._distinct()
        first = self._empty(distinct[0], self.sums.rows)
        counts = self._round(distinct, [first])
        return first.reshape(self.shape), tuple(counts[i] for i in which)

    def _round(self, rules: Sequence[Requantization], outputs: Sequence[Array]) -> list[int]:
        """Write the outputs of the first rules; how many elements each of the others gives otherwise than the first."""
        compiled = self._compiled()
        given = [rule.in_floats(compiled, self.sums.reach) for rule in rules] if compiled else []
        told = [each for each in given if each is not None]
        if compiled is None or len(told) < len(rules):
            return self._round_blocks(rules, outputs)
        floats, doubles, ends = (np.asarray(each) for each in zip(*told, strict=True))
        parameters, row = (in_lanes(self.sums.offset), floats, doubles, ends), 0
        counts, places = np.zeros(len(rules), np.int64), np.zeros(len(rules), np.int64)
        for block in self.sums.blocks:
            rows = self._rows_of(block)
            places[: len(outputs)] = [y[row : row + rows].ctypes.data for y in outputs]
            compiled.round_block(block, (parameters, (places, counts)), self.sums.offset.size, rows)
            row += rows
        return [int(count) for count in counts]

    def _rows_of(self, block: Block) -> int:
        if not isinstance(block, np.ndarray):
            return self.sums.rows
        if block.shape[1] != self.sums.offset.size:
            raise ValueError(f"{self.sums.offset.size} biases for {block.shape[1]} channels")
        return len(block)

    def _round_blocks(self, rules: Sequence[Requantization], outputs: Sequence[Array]) -> list[int]:
        """The same by sums that are there, block by block."""
        stages, counts, row = [rule.stage(self._compiled()) for rule in rules], [0] * len(rules), 0
        for block in self._held():
            ys = [y[row : row + len(block)] for y in outputs]
            ys += [self._empty(rule, len(block)) for rule in rules[len(outputs) :]]
            for i, (stage, y) in enumerate(zip(stages, ys, strict=True)):
                stage(block, self.sums.offset, y)
                counts[i] += int(np.count_nonzero(ys[0] != y)) if i >= len(outputs) else 0
            row += len(block)
        return counts

    def _distinct(self) -> tuple[list[Requantization], list[int]]:
        """Each rule once, and which of them each runtime has."""
        distinct: list[Requantization] = []  # compared, since scales are often one object and long to hash
        for rule in self.rules:
            if rule not in distinct:
                distinct.append(rule)
        return distinct, [distinct.index(rule) for rule in self.rules]

    def _compiled(self) -> ModuleType | None:
        return loops(self.sums.rows * self.sums.offset.size)

    def _empty(self, rule: Requantization, rows: int) -> Array:
        return np.empty((rows, self.sums.offset.size), rule.dtype)

    def _held(self) -> Iterator[Array]:
        """The blocks as arrays."""
        for block in self.sums.blocks:
            rows = self._rows_of(block)
            if isinstance(block, np.ndarray):
                yield block
            else:
                compiled = self._compiled()
                assert compiled is not None  # who else made the block
                yield sums_of(compiled, block, rows, self.sums.offset.size)


def sums_of(compiled: ModuleType, block: Block, rows: int, channels: int) -> Array:
    """The sums of a block, (rows, channels) of int32."""
    sums = np.empty((rows, channels), np.int32)
    nothing, raw = np.zeros((1, 4, whole_lanes(channels))), np.asarray([[0, 0, 0, compiled.RAW]])
    rules = nothing[0, 0].astype(np.int32), nothing[:, :3].astype(np.float32), nothing[:, :3].copy(), raw
    outputs = np.asarray([sums.ctypes.data]), np.zeros(1, np.int64)
    compiled.round_block(block, (rules, outputs), channels, rows)
    return sums
