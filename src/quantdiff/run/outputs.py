"""What becomes of a model's outputs: kept in files in memory, or held against another model's values on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.tally.rows import WIDTH, Write, check_sizes, writer

Quant = tuple[float, int]
"""Scale and zero point, as they travel."""


@dataclass(slots=True)
class Files:
    """The ``.npy`` files in memory that this process has open, by path; plain arrays, whose parts are made fast."""

    read: dict[str, Array] = field(default_factory=dict)
    written: dict[str, Array] = field(default_factory=dict)

    def there(self, path: str, shape: Sequence[int], dtype: str) -> Array:
        """A file that another process writes; opened again where that one gave it another size."""
        if path not in self.read or not _is(self.read[path], shape, dtype):
            self.read[path] = np.asarray(np.load(path, mmap_mode="r"))
        return self.read[path]

    def room(self, path: str, shape: Sequence[int], dtype: Any) -> Array:
        """A file to write to: the one of the run before where it fits, since new memory has to be cleared."""
        if path not in self.written or not _is(self.written[path], shape, dtype):
            made = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
            self.written[path] = np.asarray(made)
        return self.written[path]


def _is(array: Array, shape: Sequence[int], dtype: Any) -> bool:
    return array.shape == tuple(shape) and array.dtype == np.dtype(dtype)


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


class Outputs:
    """Takes the outputs of one run; the requests of ``worker`` say how ``kept``, ``pairs`` and ``rows`` are written."""

    def __init__(self, files: Files, kept: Sequence[str | None], pairs: Sequence[Any], rows: str | None) -> None:
        self._files, self._rows, self._pairs = files, rows, dict[int, list[Pair]]()
        self._kept = {i: path for i, path in enumerate(kept) if path is not None}
        self._count = len(pairs)
        self._sums: Array | None = None
        for number, (output, ours, file, theirs, grid, compiled) in enumerate(pairs):
            quants = quant_of(ours), quant_of(theirs)
            pair = Pair(number, files.there(*file), quants, grid_of(grid), compiled)
            self._pairs.setdefault(output, []).append(pair)

    def take(self, output: int, count: int, start: int, values: Array) -> None:
        """Keep values, and count how far they are from others; see ``batches.Take``."""
        stop = start + len(values)
        if output in self._kept:
            self._files.room(self._kept[output], (count, *values.shape[1:]), values.dtype)[start:stop] = values
        for pair in self._pairs.get(output, ()):
            rows = self._room(count)[pair.number]
            write = pair.write or pair.begin(values)
            write(values.reshape(len(values), -1), pair.theirs[start:stop], rows[start:stop])

    def _room(self, count: int) -> Array:
        """Where the rows of ``count`` samples go."""
        if self._sums is None:
            assert self._rows is not None
            self._sums = self._files.room(self._rows, (self._count, count, WIDTH), np.float64)
        return self._sums

    def shapes(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of what was kept, in order."""
        kept = (self._files.written[path] for path in self._kept.values())
        return [(array.shape, array.dtype.str) for array in kept]


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
