"""Run both models slice by slice and keep the stats of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.align.alignment import Alignment
from quantdiff.compare.layers.figures import Decisions
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Value
from quantdiff.recording import BoundModel, Comparand, ErrorStats, Recording, changed_outputs, returned, value_at
from quantdiff.tally.rows import RowSums
from quantdiff.tally.stats import Stats, stats_of_rows

FLUSHED_AT = 64
"""Rows that are kept before they are added up: exact sums take longer to make than rows to keep."""
MANY = 2**24
"""Elements, all pairs and samples together, from which on compiled loops pay for being loaded."""
SLICES = 8
"""Of the data, or more where memory does not allow it."""


@dataclass(slots=True)
class Gathered:
    """The stats of one account of one pair, in the order of the samples."""

    name: str
    stats: Stats = field(default_factory=Stats)
    rows: list[Array] = field(default_factory=list)
    first: int = 0
    size: int = 0

    def add(self, rows: RowSums, size: int, first: int) -> None:
        """The rows of one slice, ``size`` elements each, whose first sample has the number ``first``."""
        if not self.rows:
            self.first, self.size = first, size
        self.rows.append(rows.packed)
        if sum(map(len, self.rows)) >= FLUSHED_AT:
            self.flush()

    def flush(self) -> None:
        """Add up what waits.

        Raises:
            NotComparable: NaN or infinity.
        """
        if self.rows:
            rows = np.concatenate(self.rows)
            self.stats += stats_of_rows(RowSums(rows), len(rows) * self.size, self.first, self.name)
            self.rows.clear()


@dataclass(frozen=True, slots=True)
class PairStats:
    """Both accounts of one pair: as it happens, and of this layer alone."""

    accumulated: Stats
    local: Stats

    def __add__(self, other: PairStats) -> PairStats:
        return PairStats(self.accumulated + other.accumulated, self.local + other.local)


@dataclass(frozen=True, slots=True)
class LayerCounts:
    """Some samples of two models: of every match its stats, decisions, how many outputs watching changed.

    Counts of parts of the data add up, where all parts found the same matches.
    """

    matches: tuple[tuple[int, int], ...]
    stats: tuple[PairStats, ...]
    decisions: Decisions
    changed: tuple[int, int]

    def __add__(self, other: LayerCounts) -> LayerCounts:
        """Both parts together.

        Raises:
            NotComparable: one part paired the layers otherwise than the other.
        """
        if self.matches != other.matches:
            raise NotComparable("parts of the data pair the layers differently; give all workers one environment")
        stats = tuple(ours + theirs for ours, theirs in zip(self.stats, other.stats, strict=True))
        changed = self.changed[0] + other.changed[0], self.changed[1] + other.changed[1]
        return LayerCounts(self.matches, stats, self.decisions + other.decisions, changed)


@dataclass(frozen=True, slots=True)
class Slice:
    """What is kept of the candidate while the reference is measured against one slice of the data.

    ``sizes``: elements a sample, pair by pair. ``values``: those that decisions are looked up in, by pair; ``outputs``:
    the model's, by key.
    """

    span: tuple[int, int]
    sizes: tuple[int, ...]
    values: Mapping[int, Value]
    outputs: Mapping[int, Array]


@dataclass(frozen=True, slots=True)
class Share:
    """Which samples of how many these are; ``ends`` are the pairs nearest to the outputs, by number."""

    first: int
    total: int
    ends: frozenset[int] = frozenset()


class Accounts:
    """What was gathered of the pairs of two models so far."""

    def __init__(self, alignment: Alignment, sides: tuple[BoundModel, BoundModel], part: Share) -> None:
        self.alignment, self.sides, self.part, self.decisions = alignment, sides, part, Decisions(part.ends)
        self.places, self.grids, self.changed = alignment.values(), alignment.grids(), [0, 0]
        names = [f"{ours.name} or {theirs.name}" for ours, theirs in self.places]
        self.accumulated, self.local = ([Gathered(name) for name in names] for _ in range(2))

    def begin(self, seen: Recording, span: tuple[int, int]) -> tuple[list[Comparand], Slice]:
        """What the reference is to be held against, and what has to be kept of it, since its memory is used again."""
        matched = zip(self.places, self.alignment.matches, strict=True)
        theirs = [returned(value_at(seen, place), match.order) for (_, place), match in matched]
        pairs = zip(self.places, theirs, self.grids, strict=True)
        looked_at = {i: replace(theirs[i], array=np.array(theirs[i].array)) for i in self.decisions.ends}
        outputs = {key: np.array(seen.value(key)) for key in self.alignment.candidate.outputs}
        sizes = tuple(value.array.size // len(value.array) for value in theirs)
        compiled = sum(sizes) * self.part.total >= MANY
        return [Comparand(ours.key, value, grid, compiled) for (ours, _), value, grid in pairs], Slice(
            span, sizes, looked_at, outputs
        )

    def measure(self, pairs: Sequence[Comparand], span: tuple[int, int]) -> ErrorStats:
        """Run the reference."""
        wanted = {self.places[i][0].key for i in self.decisions.ends}
        return self.sides[0].measure(span, pairs, wanted.union(self.alignment.reference.outputs))

    def add(self, kept: Slice, apart: ErrorStats) -> None:
        """One slice of everything."""
        first = self.part.first + kept.span[0]
        for i, (ours, _) in enumerate(self.places):
            self.accumulated[i].add(apart.whole[ours.key], kept.sizes[i], first)
            if ours.key in apart.local:
                self.local[i].add(apart.local[ours.key], kept.sizes[i], first)
            if i in kept.values:
                value = Value(ours.name, apart.values[ours.key], ours.quant, ours.grid)
                self.decisions.add(i, value, kept.values[i], first)
        flows = self.alignment.reference, self.alignment.candidate
        for i, values in enumerate((apart.values, kept.outputs)):
            self.changed[i] += changed_outputs(self.sides[i], flows[i], values, kept.span)

    def stats(self) -> tuple[PairStats, ...]:
        """Both accounts of every pair, in the order of the matches."""
        for each in (*self.accumulated, *self.local):
            each.flush()
        return tuple(PairStats(a.stats, b.stats) for a, b in zip(self.accumulated, self.local, strict=True))


def slices_of(samples: int, at_once: int, total: int | None = None) -> list[tuple[int, int]]:
    """Slices of one size, since another one needs new memory, and some of them: the reference waits for the first.

    Of a part of ``total`` samples the size is that of the whole.
    """
    size = min(at_once, -(-(total or samples) // SLICES)) or 1
    return [(start, min(start + size, samples)) for start in range(0, samples, size)]


def watch_pairs(
    alignment: Alignment,
    reference: BoundModel,
    candidate: BoundModel,
    part: Share,
    on_progress: Callable[[int], None] = lambda done: None,
) -> LayerCounts:
    """The stats of every pair over these samples, in the order of the matches, and how many outputs watching changed.

    While the reference is held against a slice or two, the candidate runs the next one, and those before are added up.
    """
    accounts = Accounts(alignment, (reference, candidate), part)
    slices = slices_of(len(reference), alignment.at_once, part.total)
    in_flight = reference.watched.in_flight
    with ThreadPoolExecutor(1) as runs, ThreadPoolExecutor(in_flight) as measures:
        running, measuring = runs.submit(candidate.run, *slices[0]), deque[tuple[Slice, Future[ErrorStats]]]()

        def finish(kept: Slice, apart: Future[ErrorStats]) -> None:
            accounts.add(kept, apart.result())
            on_progress(kept.span[1])

        for span, after in zip(slices, [*slices[1:], None], strict=True):
            pairs, kept = accounts.begin(running.result(), span)
            measuring.append((kept, measures.submit(accounts.measure, pairs, span)))
            before = [measuring.popleft()] if len(measuring) > in_flight else []
            for _, apart in before:
                apart.result()  # before the candidate runs: it uses that memory again
            if after:
                running = runs.submit(candidate.run, *after)
            for each in before:
                finish(*each)
        for each in measuring:
            finish(*each)
    keys = tuple(match.keys for match in alignment.matches)
    return LayerCounts(keys, accounts.stats(), accounts.decisions, (accounts.changed[0], accounts.changed[1]))
