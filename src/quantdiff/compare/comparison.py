"""Comparison: every figure between the outputs of two traces, and its formula, units in the names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.compare.own_metric import OwnFigure, Score
from quantdiff.errors import NotComparable
from quantdiff.lazy import Shown
from quantdiff.quant import INTEGER_RANGE, Array, Grid, Trace, Value, quantize
from quantdiff.tally.stats import Stats, counted, stats_of

TOLERANCE = 0.01  # of the original experiment: absolute, in real units


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one pair of arrays, by the formulas below; None where one has no meaning.

    Attributes:
        count: numbers compared, all samples and outputs.
        passed: no error is larger than the tolerance.
        max_abs_error: real units.
        mean_abs_error: real units.
        max_relative_error: of the reference's value; None where that is 0 everywhere.
        not_close: share of errors larger than the tolerance.
        step: the scale of the output's integer grid, real units; None without one, or with several.
        differing: how many are not the same integer of the grid.
        max_steps: largest difference on the grid.
        sqnr_db: dB; infinite where both are equal.
        cosine: of the angle between both as long vectors.
        top1_agreement: share of equal decisions; None below two classes.
    """

    count: int
    passed: bool
    max_abs_error: float
    mean_abs_error: float
    max_relative_error: float | None
    not_close: float
    step: float | None
    differing: int | None
    max_steps: int | None
    sqnr_db: float
    cosine: float | None
    top1_agreement: float | None


@dataclass(frozen=True, slots=True)
class Output:
    """The figures of one output, and its name on both sides; ``channels`` along the axis of ``losses``, where asked."""

    reference: str
    candidate: str
    figures: Figures
    losses: Losses | None = None
    channels: tuple[Figures, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison(Shown):
    """Two engines on the same samples. ``figures`` are those of all outputs taken together, ``own`` the user's."""

    reference: str
    candidate: str
    tolerance: float
    figures: Figures
    outputs: tuple[Output, ...]
    notes: tuple[str, ...] = field(default=())
    own: tuple[OwnFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """One output for some of the samples: its name on both sides, the step of its grid, the stats, also by channel."""

    reference: str
    candidate: str
    step: float | None
    stats: Stats
    losses: Losses
    channels: tuple[Stats, ...] = ()

    def __add__(self, other: Counted) -> Counted:
        channels = map(add, self.channels, other.channels)
        return replace(
            self, stats=self.stats + other.stats, losses=self.losses + other.losses, channels=tuple(channels)
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """A comparison in the making, of some of the samples; those of two parts of the data add up."""

    reference: str
    candidate: str
    tolerance: float
    outputs: tuple[Counted, ...]
    notes: tuple[str, ...]
    own: Mapping[str, tuple[Score, Score]] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        """Both parts together.

        Raises:
            NotComparable: in one part the outputs were paired otherwise than in the other.
        """
        ours, theirs = ([(o.reference, o.candidate, o.step) for o in part.outputs] for part in (self, other))
        if ours != theirs:
            raise NotComparable(
                f"{self.reference} vs {self.candidate}: parts of the data pair the outputs differently; "
                "give outputs names that both models use"
            )
        if self.own.keys() != other.own.keys():
            raise NotComparable(
                f"the metric gives {[*self.own]} for one part of the data and {[*other.own]} for another"
            )
        outputs = zip(self.outputs, other.outputs, strict=True)
        return replace(
            self,
            outputs=tuple(a + b for a, b in outputs),
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
            own={
                name: (ours.plus(other.own[name][0], name), theirs.plus(other.own[name][1], name))
                for name, (ours, theirs) in self.own.items()
            },
        )


def count(
    reference: Trace,
    candidate: Trace,
    tolerance: float = TOLERANCE,
    grids: Trace | None = None,
    *,
    channels: bool = False,
) -> Counts:
    """What ``compare`` makes its figures of; ``channels`` of each output too, if asked.

    Raises:
        NotComparable: the outputs do not fit each other, or hold NaN or infinity.
    """
    pairs, notes = pair_outputs(reference, candidate)
    lent = [b.grid for _, b in pair_outputs(reference, grids)[0]] if grids else [None] * len(pairs)
    arrays = [_arrays(a, b, grid) for (a, b), grid in zip(pairs, lent, strict=True)]
    outputs = tuple(
        _counted(a.name, b.name, each, tolerance, channels=channels) for (a, b), each in zip(pairs, arrays, strict=True)
    )
    return Counts(reference.engine, candidate.engine, tolerance, outputs, notes)


def _counted(reference: str, candidate: str, arrays: _Arrays, tolerance: float, *, channels: bool) -> Counted:
    stats = stats_of(arrays.reference, arrays.candidate, tolerance, arrays.steps)
    losses = losses_of(arrays.reference, arrays.candidate, arrays.grid)
    sides = arrays.reference, arrays.candidate, *(arrays.steps or ())
    parts = zip(*(channels_of(side, losses.axis) for side in sides), strict=True) if channels else ()
    each = (stats_of(a, b, tolerance, (steps[0], steps[1]) if steps else None) for a, b, *steps in parts)
    return Counted(reference, candidate, arrays.step, stats, losses, tuple(each))


@dataclass(frozen=True, slots=True)
class _Arrays:
    """One output on both sides: real values, and integers on one grid where there is one."""

    reference: Array
    candidate: Array
    steps: tuple[Array, Array] | None
    step: float | None
    grid: Grid | None


def _arrays(reference: Value, candidate: Value, lent: Grid | None) -> _Arrays:
    own = candidate.grid or reference.grid
    grid = own if lent is None or (own is not None and not own.is_lent) else lent
    real = reference.real.reshape(candidate.array.shape), candidate.real
    if grid is not None:
        shaped = Value(reference.name, reference.array.reshape(candidate.array.shape), reference.quant)
        try:
            steps = on_grid(shaped, grid), on_grid(candidate, grid)
        except NotComparable as error:
            raise NotComparable(f"output {candidate.name}: {error}") from error
        scale = grid.params.scale
        return _Arrays(*real, steps, scale[0] if len(scale) == 1 else None, grid)
    if all(value.array.dtype.kind in "iub" for value in (reference, candidate)):
        return _Arrays(*real, real, None, None)
    return _Arrays(*real, None, None, None)


def on_grid(value: Value, grid: Grid) -> Array:
    """The value as integers of ``grid``: its own where they are that already, else rounded and clipped."""
    if value.quant == grid.params and value.array.dtype.name == grid.dtype:
        return value.array
    return quantize(value.real, grid.params, grid.dtype)


def figures_of(stats: Stats, step: float | None) -> Figures:
    """The figures of everything that was counted."""
    return Figures(
        count=stats.count,
        passed=stats.far == 0,
        max_abs_error=stats.max_abs_error,
        mean_abs_error=mean_abs_error(stats),
        max_relative_error=max_relative_error(stats),
        not_close=not_close(stats),
        step=step,
        differing=stats.differing,
        max_steps=stats.max_steps,
        sqnr_db=sqnr_db(stats),
        cosine=cosine(stats),
        top1_agreement=top1_agreement(stats),
    )


def mean_abs_error(stats: Stats) -> float:
    """Mean ``|reference − candidate|``, in real units."""
    return counted(stats.abs_error).over(stats.count)


def mean_error(stats: Stats) -> float:
    """Mean ``candidate − reference``, in real units."""
    return counted(stats.error).over(stats.count)


def rmse(stats: Stats) -> float:
    """Root of the mean ``(reference − candidate)²``, in real units."""
    return math.sqrt(stats.squared_error.over(stats.count))


def max_relative_error(stats: Stats) -> float | None:
    """Largest ``|reference − candidate| / |reference|`` where the reference is not 0; None if it is everywhere."""
    largest = counted(stats.max_relative_error)
    return None if largest == -math.inf else largest


def not_close(stats: Stats) -> float:
    """Share of values with ``|reference − candidate| > tolerance`` (absolute, in real units)."""
    return counted(stats.far) / stats.count


def sqnr_db(stats: Stats) -> float:
    """Signal-to-quantization-noise ratio in dB: ``10·log10(Σ reference² / Σ (reference − candidate)²)``.

    ``inf`` when the two are equal, ``-inf`` when the reference is 0 everywhere and the candidate is not.
    """
    signal, noise = float(stats.squared_reference), float(stats.squared_error)
    if noise == 0:
        return math.inf
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def cosine(stats: Stats) -> float | None:
    """Cosine of the angle between the two, as long vectors; None where one of them is 0 everywhere."""
    lengths = math.sqrt(float(stats.squared_reference)) * math.sqrt(float(stats.squared_candidate))
    return max(-1.0, min(1.0, float(stats.product) / lengths)) if lengths else None


def top1_agreement(stats: Stats) -> float | None:
    """Share of equal decisions: argmax over the last axis, the first of equals; None below two classes."""
    return counted(stats.agreeing) / stats.decisions if stats.decisions else None


FEW, ENOUGH = 8, 64
"""Distinct values that a channel should have, and how many values of it must be seen before fewer are told."""


HALF = 0.5  # a step: what lies nearer is rounded to the end of the range
FIRST = 256  # values that are looked at before all of a channel are


@dataclass(frozen=True, slots=True)
class Seen:
    """The values of every channel, None for ``FEW`` and more; those of two parts of the data add up."""

    channels: tuple[frozenset[float] | None, ...]

    def __add__(self, other: Seen) -> Seen:
        both = zip(self.channels, other.channels, strict=True)
        return Seen(tuple(None if a is None or b is None else _kept(a | b) for a, b in both))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each channel has; ``FEW`` stands for as many and more."""
        return tuple(FEW if values is None else len(values) for values in self.channels)


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost of an output in some of the samples, of ``count`` values.

    ``outside``: reference's values that the grid cannot hold, by ``outside_steps`` at most; None without a grid.
    ``axis`` is that of the channels: the shortest but for the samples, the last of equals.
    """

    axis: int
    reference: Seen
    candidate: Seen
    count: int
    outside: int | None = None
    outside_steps: float | None = None

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.axis,
            self.reference + other.reference,
            self.candidate + other.candidate,
            self.count + other.count,
            None if self.outside is None or other.outside is None else self.outside + other.outside,
            None if self.outside_steps is None else max(self.outside_steps, other.outside_steps or 0.0),
        )

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.candidate.channels)

    @property
    def values(self) -> tuple[int, ...]:
        """How many distinct values the candidate has in each channel, ``FEW`` for more."""
        return self.candidate.counts

    @property
    def constant(self) -> tuple[int, ...]:
        """Channels that say one thing where the reference says several."""
        return self._with(1)

    @property
    def few(self) -> tuple[int, ...]:
        """Channels with fewer than ``FEW`` values where the reference has as many; the constant ones among them."""
        return self._with(FEW - 1)

    def _with(self, most: int) -> tuple[int, ...]:
        sides = zip(self.reference.counts, self.candidate.counts, strict=True)
        if self.count < ENOUGH * self.channels:
            return ()
        return tuple(i for i, (ours, theirs) in enumerate(sides) if ours > most >= theirs)


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of the channels of an output whose samples lie along axis 0."""
    lengths = [(length, -axis) for axis, length in enumerate(shape) if axis and length > 1]
    return -min(lengths)[1] if lengths else len(shape) - 1


def channels_of(values: Array, axis: int) -> Array:
    """``values`` as (channels, values of each)."""
    moved: Array = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


def losses_of(reference: Array, candidate: Array, grid: Grid | None) -> Losses:
    """What ``candidate`` has lost; both in real units, of one shape, samples along axis 0."""
    axis = channel_axis(candidate.shape)
    ours, theirs = (Seen(tuple(map(_few, channels_of(side, axis)))) for side in (reference, candidate))
    return Losses(axis, ours, theirs, reference.size, *_outside(reference, grid))


def _few(values: Array) -> frozenset[float] | None:
    found = np.unique(values[:FIRST])
    return _kept(frozenset((found if len(found) >= FEW else np.unique(values))[:FEW].tolist()))


def _kept(values: frozenset[float]) -> frozenset[float] | None:
    return values if len(values) < FEW else None


def _outside(reference: Array, grid: Grid | None) -> tuple[int | None, float | None]:
    """How many values the grid cannot hold, not even rounded, and by how many steps at most."""
    if grid is None:
        return None, None
    scale, zero_point = grid.params.along(reference.ndim)
    if not (scale > 0).all():  # of a damaged file
        return None, None
    low, high = INTEGER_RANGE[grid.dtype]
    codes = reference.astype(np.float64) / scale + zero_point
    beyond = np.maximum(low - codes, codes - high)
    return int(np.count_nonzero(beyond > HALF)), max(0.0, float(beyond.max()))


def compare(reference: Trace, candidate: Trace, tolerance: float = TOLERANCE, grids: Trace | None = None) -> Comparison:
    """Hold the outputs of two traces against each other.

    Steps are those of the candidate's grid, else of the reference's; ``grids`` lends its own where neither side
    has one (two float models beside the TFLite model made from them), or only steps without ends.

    Raises:
        NotComparable: the outputs do not fit each other, or hold NaN or infinity.
    """
    return settle(count(reference, candidate, tolerance, grids))


def settle(counts: Counts) -> Comparison:
    """The figures of what was counted: for each output, and for all together."""
    outputs = tuple(
        Output(
            o.reference,
            o.candidate,
            figures_of(o.stats, o.step),
            o.losses,
            tuple(figures_of(stats, o.step) for stats in o.channels),
        )
        for o in counts.outputs
    )
    whole = reduce(add, (o.stats for o in counts.outputs))
    steps = {o.step for o in counts.outputs}
    figures = figures_of(whole, steps.pop() if len(steps) == 1 else None)
    own = tuple(OwnFigure(name, a.value, b.value) for name, (a, b) in counts.own.items())
    return Comparison(counts.reference, counts.candidate, counts.tolerance, figures, outputs, counts.notes, own)
