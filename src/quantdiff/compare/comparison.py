"""Comparison: every figure between the outputs of two traces, for all outputs together and for each."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import add

from quantdiff.align.alignment import pair_outputs
from quantdiff.compare import metrics
from quantdiff.compare.metrics import Losses, channels_of, losses_of
from quantdiff.compare.own_metric import OwnFigure, Score
from quantdiff.errors import NotComparable
from quantdiff.lazy import Shown
from quantdiff.quant import Array, Grid, Trace, Value, quantize
from quantdiff.tally.stats import Stats, stats_of

TOLERANCE = 0.01  # of the original experiment: absolute, in real units


def is_tolerance(value: float) -> bool:
    """Whether an error can be held against it: a distance in real units; nothing is beyond NaN or infinity."""
    return 0 <= value <= sys.float_info.max


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one pair of arrays, by the formulas of ``compare.metrics``; None where one has no meaning.

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


def compare(reference: Trace, candidate: Trace, tolerance: float = TOLERANCE, grids: Trace | None = None) -> Comparison:
    """Hold the outputs of two traces against each other.

    Steps are those of the candidate's grid, else of the reference's; ``grids`` lends its own where neither side
    has one (two float models beside the TFLite model made from them), or only steps without ends.

    Raises:
        NotComparable: the outputs do not fit each other, or hold NaN or infinity.
    """
    return settle(count(reference, candidate, tolerance, grids))


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
        mean_abs_error=metrics.mean_abs_error(stats),
        max_relative_error=metrics.max_relative_error(stats),
        not_close=metrics.not_close(stats),
        step=step,
        differing=stats.differing,
        max_steps=stats.max_steps,
        sqnr_db=metrics.sqnr_db(stats),
        cosine=metrics.cosine(stats),
        top1_agreement=metrics.top1_agreement(stats),
    )


OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


METRICS = tuple(field.name for field in fields(Figures) if field.name != "passed")


LOCAL = "local_"  # before a metric: of the layer alone


@dataclass(frozen=True, slots=True)
class Condition:
    """``metric``, a comparison sign, a limit: the models differ where this holds.

    ``layer`` is a name or a shell pattern of layers whose metric it is; empty for the outputs.
    """

    metric: str
    sign: str
    limit: float
    layer: str = ""

    def __str__(self) -> str:
        return f"{self.metric}{'@' * bool(self.layer)}{self.layer}{self.sign}{self.limit:g}"


CLOSE = Condition("not_close", ">", 0.0)
"""What counts as different where nothing is asked: any output beyond the tolerance."""
