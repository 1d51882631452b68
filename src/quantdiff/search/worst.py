"""The input on which two models differ most, or decide otherwise with the largest margin: climbed, with no gradient.

``WorstCase`` is what ``worst`` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.compare.evidence import decisions_of
from quantdiff.errors import BadData
from quantdiff.ladder.explanation import Explanation
from quantdiff.load.data import Batch
from quantdiff.quant import INTEGER_RANGE, Array, Trace
from quantdiff.run.runner import Progress, silent
from quantdiff.search.bound import Bound

Score = Callable[[Array], Array]
"""Points, shape (points, elements) → how high each is, shape (points,)."""
MOVES = (1.0, 0.25, 1 / 16)
"""How far a block goes in one step, of the way between the ends: first to the ends themselves."""
BLOCKS, FEWEST = 256, 8
ELEMENTS_AT_ONCE = 2**22
PATIENCE = 2
"""Rounds of all moves without a gain, each with other blocks, after which a point is a summit."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where points may be: inclusive ends. Shapes: (elements,) each."""

    low: Array
    high: Array


def climb(
    score: Score, start: Array, box: Box, until: float, rng: np.random.Generator
) -> Iterator[tuple[Array, float]]:
    """Points from ``start`` uphill, each with its height, the last one a summit; ``until`` is a time of ``monotonic``.

    One round asks what each of some random blocks of elements gains when it moves up or down, then moves the best
    ones together: as many as gain most. Shapes: (elements,).
    """
    point, best = start, float(score(start[None])[0])
    yield point, best
    without = 0
    while without < PATIENCE and monotonic() < until:
        gained = False
        for move in MOVES:
            while monotonic() < until:
                found, height = _round(score, point, best, box, move, rng)
                if height <= best:
                    break
                point, best, gained = found, height, True
                yield point, best
        without = 0 if gained else without + 1


def _round(
    score: Score, point: Array, best: float, box: Box, move: float, rng: np.random.Generator
) -> tuple[Array, float]:
    """The best that one round finds, and its height."""
    count = min(point.size, max(FEWEST, min(BLOCKS, ELEMENTS_AT_ONCE // (2 * point.size))))
    block = rng.integers(0, count, point.size) if count < point.size else np.arange(point.size)
    up, down = (np.clip(point + sign * move * (box.high - box.low), box.low, box.high) for sign in (1, -1))
    tried = np.concatenate([np.where(block == np.arange(count)[:, None], side, point) for side in (up, down)])
    heights = score(np.asarray(tried, point.dtype)).reshape(2, count)
    gains = heights.max(axis=0) - best
    order = [int(k) for k in np.argsort(-gains) if gains[k] > 0]
    if not order:
        return point, best
    upward = (heights[0] >= heights[1])[block]
    moved = np.where(upward, up, down)
    together = np.stack([np.where(np.isin(block, order[:some]), moved, point) for some in _sizes(len(order))])
    heights = score(np.asarray(together, point.dtype))
    first = int(heights.argmax())
    return np.asarray(together[first], point.dtype), float(heights[first])


def _sizes(count: int) -> Iterator[int]:
    """1, 2, 4, …, all."""
    some = 1
    while some < count:
        yield some
        some *= 2
    yield count


STARTS = 16
"""Samples from which the search climbs, the worst first; so many inputs come out."""
FOR_FLIPS = 1 / 3
"""The share of the time that goes to decisions, where there are any; of the rest one half goes to the first climb."""
WAY = np.linspace(0, 1, 64, dtype=np.float32)
SEED = 0
Trace2 = Callable[[Batch], tuple[Trace, Trace]]
"""What both models give for some inputs."""


@dataclass(frozen=True, slots=True)
class Space:
    """Where inputs may be.

    Attributes:
        start: samples to begin with, one array for each input. Shapes: (samples, …).
        ends: lowest and highest value of each input; None for one that counts, which stays as it is.
        near: how far each value may go from that of its sample, real units; None: as far as the ends.
    """

    start: Batch
    ends: tuple[tuple[float, float] | None, ...]
    near: float | None = None

    def __post_init__(self) -> None:
        if not any(self.ends):
            raise BadData(f"{self.start.source}: no input is a measured quantity, so there is nothing to move")

    @property
    def moved(self) -> list[str]:
        """The inputs that move."""
        return [name for name, ends in zip(self.start.arrays, self.ends, strict=True) if ends is not None]

    def point(self, row: int) -> Array:
        """A sample as one vector of what moves."""
        return np.concatenate([np.asarray(self.start.arrays[n][row], np.float32).reshape(-1) for n in self.moved])

    def starts(self, order: Sequence[int]) -> dict[int, Array]:
        """The first samples of an order."""
        return {row: self.point(row) for row in order[:STARTS]}

    def box(self, row: int) -> Box:
        """How far a sample may move."""
        point = self.point(row)
        known = dict(zip(self.start.arrays, self.ends, strict=True))
        ends = [known[name] or (0.0, 0.0) for name in self.moved]
        sizes = [self.start.arrays[name][0].size for name in self.moved]
        low, high = (np.repeat(np.asarray([e[k] for e in ends], np.float32), sizes) for k in (0, 1))
        if self.near is not None:
            low, high = np.maximum(low, point - np.float32(self.near)), np.minimum(high, point + np.float32(self.near))
        return Box(np.minimum(low, point), np.maximum(high, point))

    def batch(self, points: Array, row: int) -> Batch:
        """Points as data; what does not move is that of the sample."""
        arrays, at = dict[str, Array](), 0
        for name, array in self.start.arrays.items():
            if name in self.moved:
                size = array[0].size
                arrays[name] = points[:, at : at + size].reshape(len(points), *array.shape[1:])
                at += size
            else:
                arrays[name] = np.repeat(array[row : row + 1], len(points), axis=0)
        return Batch(arrays, None, "the search")


@dataclass(frozen=True, slots=True)
class Summits:
    """What the search found, highest first.

    Attributes:
        batch: the inputs.
        heights: of each, by the score that it climbed.
        rows: the sample that each began with.
        tried: inputs that both models were asked about.
        interrupted: whether somebody pressed Ctrl-C: then these are the best so far.
    """

    batch: Batch
    heights: tuple[float, ...]
    rows: tuple[int, ...]
    tried: int
    interrupted: bool = False


def errors_of(traces: tuple[Trace, Trace]) -> Array:
    """The largest error of each sample: in steps of the candidate's output, real units where it has none."""
    return _errors(traces, within=False)


def errors_within(traces: tuple[Trace, Trace]) -> Array:
    """The same with the reference no farther than the ends of the output's grid, beyond which no file can follow."""
    return _errors(traces, within=True)


def _errors(traces: tuple[Trace, Trace], *, within: bool) -> Array:
    pairs, _ = pair_outputs(*traces)
    each = []
    for ours, theirs in pairs:
        grid = theirs.grid or ours.grid
        unit = float(grid.params.scale[0]) if grid is not None else 1.0
        a, b = (value.real.astype(np.float64).reshape(len(value.array), -1) for value in (ours, theirs))
        if within and grid is not None:
            low, high = ((q - grid.params.zero_point[0]) * unit for q in INTEGER_RANGE[grid.dtype])
            a = a.clip(low, high)
        each.append(np.nan_to_num(np.abs(a - b).max(axis=1) / unit, nan=0.0, posinf=0.0))
    return np.asarray(np.max(each, axis=0))


def margins_of(traces: tuple[Trace, Trace]) -> Array | None:
    """For each sample how surely the two decide otherwise: the smaller one of both margins, real units.

    For the pair of classes that makes it largest: how far the reference has the one above the other, and the candidate
    the other above the one. Below 0 where they decide the same. None where there are no classes.
    """
    pairs, _ = pair_outputs(*traces)
    ours, theirs = (value.real.astype(np.float64).reshape(len(value.array), -1) for value in pairs[0])
    if any(decisions_of(value.real) is None for value in pairs[0]):
        return None
    rows = np.arange(len(ours))
    first = ours.argmax(axis=1)
    against = np.minimum(ours[rows, first][:, None] - ours, theirs - theirs[rows, first][:, None])
    against[rows, first] = -np.inf
    return np.asarray(against.max(axis=1))


def on_the_way(trace: Trace2, space: Space, found: Summits) -> dict[int, Array]:
    """By sample the point on the way to its summit with the largest error within the output's grid, the best first.

    On the way beyond the grid's end tensors inside reach theirs, and the output not yet.
    """
    best = list[tuple[float, int, Array]]()
    for place, row in enumerate(found.rows):
        start, end = space.point(row), replace(space, start=found.batch).point(place)
        points = np.asarray(start + WAY[:, None] * (end - start), start.dtype)
        errors = errors_within(trace(space.batch(points, row)))
        best.append((float(errors.max()), row, points[int(errors.argmax())]))
    return {row: point for _, row, point in sorted(best, key=lambda each: -each[0])}


@dataclass(slots=True)
class _Asked:
    """A score, and how often it was asked."""

    trace: Trace2
    of: Callable[[tuple[Trace, Trace]], Array | None]
    space: Space
    row: int = 0
    tried: int = field(default=0)

    def __call__(self, points: Array) -> Array:
        self.tried += len(points)
        heights = self.of(self.trace(self.space.batch(points, self.row)))
        assert heights is not None
        return heights


def summits(
    trace: Trace2,
    of: Callable[[tuple[Trace, Trace]], Array | None],
    space: Space,
    starts: Mapping[int, Array],
    seconds: float,
    progress: Progress = silent,
) -> Summits:
    """Climb from the ``starts``, the first ones longest, until the time is over; or until Ctrl-C.

    ``starts``: by sample the point to begin with.

    Raises:
        RuntimeFailed: a model does not run.
    """
    begun, rng, found = monotonic(), np.random.default_rng(SEED), dict[int, tuple[Array, float]]()
    asked = _Asked(trace, of, space)
    interrupted = False
    try:
        for number, (row, start) in enumerate(starts.items()):
            left = begun + seconds - monotonic()
            if left <= 0 and found:
                break
            asked.row = row
            share = max(left / 2, left / (len(starts) - number))
            for reached in climb(asked, start, space.box(row), monotonic() + share, rng):
                found[row] = reached
                progress("worst", int(min(monotonic() - begun, seconds)), max(1, int(seconds)))
    except KeyboardInterrupt:
        if not found:
            raise
        interrupted = True
    best = sorted(found, key=lambda row: -found[row][1])
    parts = [space.batch(found[row][0][None], row) for row in best]
    arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in space.start.arrays}
    heights = tuple(found[row][1] for row in best)
    return Summits(Batch(arrays, None, "the search"), heights, tuple(best), asked.tried, interrupted)


@dataclass(frozen=True, slots=True)
class WorstInput:
    """One input that was found, as it is alone on the runtime.

    Attributes:
        error: the largest error of its outputs, in the unit of ``WorstCase``; also what lies beyond the output's grid.
        margin: how surely the two decide otherwise, real units; below 0 where they do not, None without classes.
        begun: the sample that the search began with.
        max_steps: as ``diff`` counts it, within the output's grid; None where there is none.
        within: the largest error where the reference goes no farther than the ends of the output's grid; None where
            that was not asked.
    """

    error: float
    margin: float | None
    begun: int
    max_steps: int | None = None
    within: float | None = None

    @property
    def beyond(self) -> bool:
        """Whether the reference goes where the file's output cannot."""
        return self.max_steps is not None and self.error > self.max_steps + 1


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The inputs on which two models differ most.

    Attributes:
        reference: the engine.
        candidate: the engine.
        unit: of the errors in real units: one step of the output, or 1 where it has no grid.
        steps: whether the unit is a step.
        batch: the inputs, the largest error first.
        inputs: what each of them gives.
        known: the largest error of the samples that the search began with.
        known_margin: the largest margin of them; None without classes.
        known_within: the largest error of them within the output's grid.
        samples: how many these were.
        tried: inputs that both models were asked about.
        seconds: that it took.
        near: how far an input may be from its sample; None: anywhere in the range.
        interrupted: the best so far, not confirmed alone, not explained.
        explanation: what makes the first input's error, where that can be told.
        unexplained: why it cannot.
        bound: what no input exceeds.
        warnings: what a reader must know of the data.
        made_by: versions and the like.
    """

    reference: str
    candidate: str
    unit: float
    steps: bool
    batch: Batch
    inputs: tuple[WorstInput, ...]
    known: float
    known_margin: float | None
    samples: int
    tried: int
    seconds: float
    near: float | None = None
    interrupted: bool = False
    known_within: float = 0.0
    explanation: Explanation | None = None
    unexplained: str = ""
    bound: Bound | None = None
    warnings: tuple[str, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)

    @property
    def looseness(self) -> float | None:
        """How many times the largest error that was found the bound is; the truth lies between."""
        if self.bound is None or self.bound.error is None or not self.inputs[0].error:
            return None
        return self.bound.error / self.inputs[0].error

    @property
    def inside(self) -> WorstInput | None:
        """The input with the largest error within the output's grid, where the first one goes beyond it."""
        if not self.inputs[0].beyond:
            return None
        return max(self.inputs, key=lambda each: each.within or 0.0)

    @property
    def flip(self) -> WorstInput | None:
        """The input that decides otherwise with the largest margin, if there is one."""
        flips = [each for each in self.inputs if each.margin is not None and each.margin > 0]
        return max(flips, key=lambda each: each.margin or 0.0, default=None)
