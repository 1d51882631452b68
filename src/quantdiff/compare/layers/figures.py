"""Figures of every aligned pair: both models run slice by slice, so memory does not grow with the data."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from heapq import nlargest

import numpy as np

from quantdiff.align.alignment import Alignment
from quantdiff.compare import comparison
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Grid, Value
from quantdiff.recording import BoundModel, Comparand, ErrorStats, Recording, changed_outputs, returned, value_at
from quantdiff.tally.stats import CLASSES_AT_LEAST, ExactSum, RowSums, Stats, counted, exact_sum, stats_of_rows

KEPT = 10  # of each


@dataclass(frozen=True, slots=True)
class WorstSample:
    """A sample by its number in the data, and the largest difference of its values there, in real units."""

    sample: int
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision that is another one: the classes on both sides, and how far the reference's lead was (real units)."""

    sample: int
    reference: int
    candidate: int
    margin: float


@dataclass(slots=True)
class Decisions:
    """Gathers both over the slices, for the pairs of the numbers ``ends``."""

    ends: frozenset[int] = frozenset()
    flipped: int = 0
    decided: int = 0
    flips: list[Flip] = field(default_factory=list)
    worst: list[WorstSample] = field(default_factory=list)

    def add(self, pair: int, reference: Value, candidate: Value, first: int) -> None:
        """Look at one slice of a pair; ``first`` is the number of its first sample."""
        if pair not in self.ends:
            return
        a, b = (value.real.reshape(len(value.array), -1).astype(np.float64) for value in (reference, candidate))
        errors = np.abs(a - b).max(axis=1)
        found = [WorstSample(first + int(i), float(errors[i])) for i in np.argsort(-errors)[:KEPT] if errors[i] > 0]
        self.worst = nlargest(KEPT, [*self.worst, *found], key=lambda each: (each.max_abs_error, -each.sample))
        if a.shape[1] >= CLASSES_AT_LEAST and a.shape[1] == candidate.array.shape[-1]:
            self.decided += len(a)
            flips = list(_flips(a, b, first))
            self.flipped += len(flips)
            self.flips = nlargest(KEPT, [*self.flips, *flips], key=lambda each: (each.margin, -each.sample))

    def __add__(self, other: Decisions) -> Decisions:
        """Both parts of the data together."""
        return Decisions(
            self.ends,
            self.flipped + other.flipped,
            self.decided + other.decided,
            nlargest(KEPT, [*self.flips, *other.flips], key=lambda each: (each.margin, -each.sample)),
            nlargest(KEPT, [*self.worst, *other.worst], key=lambda each: (each.max_abs_error, -each.sample)),
        )


def _flips(a: Array, b: Array, first: int) -> Iterator[Flip]:
    ours, theirs = a.argmax(axis=1), b.argmax(axis=1)
    for i in np.flatnonzero(ours != theirs):
        x, y = int(ours[i]), int(theirs[i])
        yield Flip(first + int(i), x, y, float(a[i, x] - a[i, y]))


YARDSTICK = 1 / math.sqrt(12)  # RMSE ÷ scale of rounding alone: an error spread evenly over one step


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What the stats say; figures in steps are None where the values lie on no integer grid.

    ``mean_steps`` is the mean error, candidate minus reference, signed, before rounding to the grid; ``rmse_steps``
    the root of the mean squared error; both over ``step``, the scale. ``clipped_…`` are shares of reference
    values beyond what the candidate's integers hold, ``at_…`` shares of candidate integers at the end of their range.
    """

    count: int
    differing: int | None
    max_steps: int | None
    mean_steps: float | None
    mean_abs_steps: float | None
    rmse_steps: float | None
    sqnr_db: float
    cosine: float | None
    max_abs_error: float
    clipped_low: float | None
    clipped_high: float | None
    at_low: float | None
    at_high: float | None
    step: float | None
    reference_min: float
    reference_max: float
    candidate_min: float
    candidate_max: float
    worst_sample: int


def figures_of(stats: Stats, grid: Grid | None) -> LayerFigures:
    """The figures after the last sample."""
    step = None if grid is None else grid.params.scale[0]
    n = stats.count
    return LayerFigures(
        count=n,
        differing=None if grid is None else stats.differing,
        max_steps=None if grid is None else stats.max_steps,
        mean_steps=None if step is None else comparison.mean_error(stats) / step,
        mean_abs_steps=None if grid is None else counted(stats.abs_steps) / n,
        rmse_steps=None if step is None else comparison.rmse(stats) / step,
        sqnr_db=comparison.sqnr_db(stats),
        cosine=comparison.cosine(stats),
        max_abs_error=stats.max_abs_error,
        clipped_low=None if grid is None else counted(stats.clipped_low) / n,
        clipped_high=None if grid is None else counted(stats.clipped_high) / n,
        at_low=None if grid is None else counted(stats.at_low) / n,
        at_high=None if grid is None else counted(stats.at_high) / n,
        step=step,
        reference_min=counted(stats.reference_min),
        reference_max=counted(stats.reference_max),
        candidate_min=counted(stats.candidate_min),
        candidate_max=counted(stats.candidate_max),
        worst_sample=counted(stats.worst)[1],
    )


NOTHING = ExactSum()
FINEST, BINS = 1 / 8, 64  # steps; bins at most, but for the one in the middle


@dataclass(frozen=True, slots=True)
class StepHistogram:
    """Counts of (candidate − reference) / scale, before rounding to the grid.

    Bins are ``width`` steps wide and centred on multiples of it, so that a whole step falls in the middle of a bin;
    ``first`` is the lowest centre. A value between two bins belongs to the upper one. ``rmse`` is the root of the
    mean squared error in steps: 1/√12 where errors are those of rounding alone.
    """

    step: float
    width: float
    first: float
    counts: tuple[int, ...]
    rmse: float

    @property
    def centres(self) -> tuple[float, ...]:
        """The middle of each bin, in steps."""
        return tuple(self.first + self.width * i for i in range(len(self.counts)))


def step_histogram(errors: Callable[[], Iterable[Array]], step: float) -> StepHistogram:
    """The histogram of errors (real units) over the scale ``step``; they are asked for twice, part by part.

    The first pass finds how far they reach, the second counts.
    """
    reach = max(float(np.abs(part).max()) for part in errors()) / step
    width = max(FINEST, 2.0 ** math.ceil(math.log2(2 * reach / BINS))) if reach else FINEST
    last = math.floor(reach / width + 0.5) + 1
    counts, squares, count = np.zeros(2 * last + 1, np.int64), NOTHING, 0
    for part in errors():
        steps = part.astype(np.float64).ravel() / step
        bins = np.floor(steps / width + 0.5).astype(np.int64)
        counts += np.bincount(bins + last, minlength=len(counts))
        squares, count = squares + exact_sum(np.square(steps)), count + steps.size
    filled = np.flatnonzero(counts)
    kept = counts[filled[0] : filled[-1] + 1]
    return StepHistogram(
        step, width, int(filled[0] - last) * width, tuple(kept.tolist()), math.sqrt(squares.over(count))
    )


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
