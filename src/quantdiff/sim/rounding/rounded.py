"""From sums to outputs, for several runtimes at once: each block is rounded by every rule while it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import BLOCK, Block, Sums
from quantdiff.sim.compiled import loops
from quantdiff.sim.rounding.rules import Requantization, stages


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

    def _distinct(self) -> tuple[list[Requantization], list[int]]:
        """Each rule once, and which of them each runtime has."""
        places = {rule: i for i, rule in enumerate(dict.fromkeys(self.rules))}
        return list(places), [places[rule] for rule in self.rules]

    def _compiled(self) -> ModuleType | None:
        return loops(self.sums.rows * self.sums.offset.size)

    def _empty(self, rule: Requantization, rows: int) -> Array:
        return np.empty((rows, self.sums.offset.size), rule.dtype)

    def _blocks(
        self, rules: Sequence[Requantization], places: Callable[[int, int], list[Array]]
    ) -> Iterator[list[Array]]:
        """The outputs of one block after the other, written to ``places(first row, rows)``."""
        compiled, row = self._compiled(), 0
        work = stages(rules, compiled)
        for block, count in self._held(compiled, once=len(work) == 1 and bool(compiled and rules[0].loop(compiled))):
            ys = places(row, count)
            for stage, indices in work:
                stage(block, self.sums.offset, [ys[i] for i in indices])
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
