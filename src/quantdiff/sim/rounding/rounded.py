"""From sums to outputs, for several runtimes at once: each block is rounded by every rule while it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import BLOCK, Block, Sums
from quantdiff.sim.compiled import loops
from quantdiff.sim.rounding.rules import Requantization


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
        for _ in self._blocks(distinct, lambda row, rows: [y[row : row + rows] for y in outputs]):
            pass
        return tuple(outputs[i].reshape(self.shape) for i in which)

    def first_and_differing(self) -> tuple[Array, tuple[int, ...]]:
        """The first output, and how many elements each gives otherwise: the others exist a block at a time."""
        distinct, which = self._distinct()
        if (found := self._counted(distinct)) is not None:
            return found[0].reshape(self.shape), tuple(found[1][i] for i in which)
        first, counts = self._empty(distinct[0], self.sums.rows), [0] * len(distinct)
        others: list[Array] = []
        compiled = self._compiled()
        count = compiled.count_differing if compiled else lambda a, b: int(np.count_nonzero(a != b))

        def places(row: int, rows: int) -> list[Array]:
            if not others or len(others[0]) < rows:
                others[:] = [self._empty(rule, rows) for rule in distinct[1:]]
            return [first[row : row + rows], *(y[:rows] for y in others)]

        for ys in self._blocks(distinct, places):
            for i, y in enumerate(ys[1:], start=1):
                counts[i] += count(ys[0].reshape(-1), y.reshape(-1))
        return first.reshape(self.shape), tuple(counts[i] for i in which)

    def _counted(self, rules: Sequence[Requantization]) -> tuple[Array, list[int]] | None:
        """The same in one go over the sums; None where some sum or rule is not for that."""
        compiled, given = self._compiled(), [rule.in_floats() for rule in rules]
        scales = [each for each in given if each is not None]
        blocks = self.sums.blocks if isinstance(self.sums.blocks, list) else []
        if compiled is None or len(scales) < len(rules) or len(rules) == 1 or len(blocks) != 1:
            return None
        floats, doubles = (np.stack(each) for each in zip(*scales, strict=True))
        ends = np.asarray([(rule.zero_point, *rule.clamp) for rule in rules])
        first = self._empty(rules[0], self.sums.rows)
        return first, compiled.count_all(blocks[0], self.sums.offset, floats, doubles, ends, first).tolist()

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

    def _blocks(
        self, rules: Sequence[Requantization], places: Callable[[int, int], list[Array]]
    ) -> Iterator[list[Array]]:
        """The outputs of one block after the other, written to ``places(first row, rows)``."""
        compiled, row = self._compiled(), 0
        work = [rule.stage(compiled) for rule in rules]
        for block, count in self._held(compiled, once=len(work) == 1 and bool(compiled and rules[0].loop(compiled))):
            ys = places(row, count)
            for stage, y in zip(work, ys, strict=True):
                stage(block, self.sums.offset, y)
            row += count
            yield ys

    def _held(self, compiled: ModuleType | None, *, once: bool) -> Iterator[tuple[Block, int]]:
        """The blocks and their rows; ``once`` means that a loop computes the sums while it rounds them."""
        rows, channels = self.sums.rows, self.sums.offset.size
        for block in self.sums.blocks:
            if isinstance(block, np.ndarray):
                if block.shape[1] != channels:
                    raise ValueError(f"{channels} biases for {block.shape[1]} channels")
                yield block, len(block)
            elif once:
                yield block, rows
            else:
                assert compiled is not None  # who else made the block
                held = np.empty((min(rows, max(1, BLOCK // channels)), channels), np.int32)
                for row in range(0, rows, len(held)):
                    part = held[: rows - row]
                    compiled.compute(block, row, part)
                    yield part, len(part)
