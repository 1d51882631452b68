"""What becomes of a model's outputs: kept in shared memory, or held against another model's values on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.run.shared_memory import Block, Kind, Piece, offsets_of, reserved, unpacked
from quantdiff.tally.rows import WIDTH, Write, check_sizes, writer

Quant = tuple[float, int]
"""Scale and zero point, as they travel."""


@dataclass(slots=True)
class Pair:
    """Values of another model, how both are to be read, and the integers that they are counted on."""

    number: int
    theirs: Array
    quants: tuple[QuantParams | None, QuantParams | None]
    grid: Grid | None
    compiled: bool
    write: Write | None = None

    def begin(self, ours: Array) -> Write:
        """What writes the rows of arrays like ``ours``; decided once, since it takes as long as a small array."""
        check_sizes(ours, self.theirs[: len(ours)], "an output")
        self.theirs = self.theirs.reshape(len(self.theirs), -1)
        self.write = writer(
            (self.quants[0], ours.dtype), (self.quants[1], self.theirs.dtype), self.grid, compiled=self.compiled
        )
        return self.write


@dataclass(slots=True)
class Room:
    """Blocks for outputs, by turn: that of the run before where it fits, since new memory has to be cleared."""

    blocks: dict[int, tuple[tuple[Kind, ...], Block]] = field(default_factory=dict)

    def make(self, turn: int, kinds: tuple[Kind, ...], size: int) -> Block:
        """The block of this turn; what another process still holds of the one before stays as it is.

        Raises:
            RuntimeFailed: the system has no room.
        """
        if turn not in self.blocks or self.blocks[turn][0] != kinds:
            self.blocks.pop(turn, None)
            self.blocks[turn] = kinds, reserved(size)
        return self.blocks[turn][1]


class Outputs:
    """Takes the outputs of one run; the requests of ``worker`` say which are ``kept``, and the ``pairs``."""

    def __init__(self, room: Room, turn: int, kept: Sequence[bool], pairs: Sequence[Any], theirs: list[Array]) -> None:
        self._room, self._turn, self._pairs = room, turn, dict[int, list[Pair]]()
        self._kept = [i for i, wanted in enumerate(kept) if wanted]
        self._count = len(pairs)
        self._filled: list[Array] = []
        self.pieces: list[Piece] = []
        self.block: Block | None = None
        for number, ((output, ours, quant, grid, compiled), array) in enumerate(zip(pairs, theirs, strict=True)):
            pair = Pair(number, array, (quant_of(ours), quant_of(quant)), grid_of(grid), compiled)
            self._pairs.setdefault(output, []).append(pair)

    def take(self, count: int, start: int, values: list[Array]) -> None:
        """Keep values, and count how far they are from others; see ``batches.Take``."""
        if self.block is None:
            self._begin(count, values)
        for array, i in zip(self._filled, self._kept, strict=False):  # behind them the rows
            array[start : start + len(values[i])] = values[i]
        for i, pairs in self._pairs.items():
            stop = start + len(values[i])
            for pair in pairs:
                rows = self._filled[-1][pair.number]
                write = pair.write or pair.begin(values[i])
                write(values[i].reshape(len(values[i]), -1), pair.theirs[start:stop], rows[start:stop])

    def _begin(self, count: int, values: list[Array]) -> None:
        """Room for what is kept of ``count`` samples and, where there are pairs, for a row a sample of each."""
        kinds = [((count, *values[i].shape[1:]), values[i].dtype.str) for i in self._kept]
        kinds += [((self._count, count, WIDTH), np.dtype(np.float64).str)] if self._pairs else []
        offsets, size = offsets_of(kinds)
        self.block = self._room.make(self._turn, tuple(kinds), size)
        self.pieces = [(0, offset, *kind) for offset, kind in zip(offsets, kinds, strict=True)]
        self._filled = unpacked(self.pieces, [self.block])


def sent_quant(quant: QuantParams | None) -> Quant | None:
    """Quantization of a whole tensor, as it travels."""
    return None if quant is None else (quant.scale[0], quant.zero_point[0])


def quant_of(sent: Quant | None) -> QuantParams | None:
    """What ``sent_quant`` sent."""
    return None if sent is None else QuantParams((sent[0],), (sent[1],))


def sent_grid(grid: Grid | None) -> tuple[Quant, str] | None:
    """A grid without the name of its tensor, as it travels."""
    return None if grid is None else ((grid.params.scale[0], grid.params.zero_point[0]), grid.dtype)


def grid_of(sent: tuple[Quant, str] | None) -> Grid | None:
    """What ``sent_grid`` sent."""
    return None if sent is None else Grid(QuantParams((sent[0][0],), (sent[0][1],)), sent[1], "")
