"""The outcome of a comparison: all that was compared, whole or in parts that add up, and what counts as different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import cast

import numpy as np

from quantdiff.compare.comparison import TOLERANCE, Comparison, Counts, count, settle
from quantdiff.compare.conditions import CLOSE, LOCAL, METRICS, OPERATORS, Condition
from quantdiff.compare.evidence import Evidence
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.errors import BadExpression, NotComparable
from quantdiff.lazy import Shown
from quantdiff.quant import Array, Trace
from quantdiff.tally.stats import CLASSES_AT_LEAST


@dataclass(frozen=True, slots=True)
class Decided:
    """How often an output of so many classes was right; None for one that does not decide once a sample."""

    classes: int
    right: int


@dataclass(frozen=True, slots=True)
class Part:
    """Counts for every pair of engines, decisions for every engine and each of its outputs.

    ``top_label`` is the largest label, None without labels: an output decides when it has more classes than that.
    """

    samples: int
    counts: tuple[Counts, ...]
    decided: tuple[tuple[str, tuple[Decided | None, ...]], ...]
    top_label: int | None
    notes: tuple[str, ...] = ()

    def __add__(self, other: Part) -> Part:
        """Both parts together; an engine that failed in one of them is left out.

        Raises:
            NotComparable: labels in one part only, or outputs that were paired otherwise.
        """
        if (self.top_label is None) != (other.top_label is None):
            raise NotComparable("some parts of the data have labels and others have none; give all of them labels")
        counts, decided = ({(c.reference, c.candidate): c for c in other.counts}, dict(other.decided))
        both = [(c, counts[c.reference, c.candidate]) for c in self.counts if (c.reference, c.candidate) in counts]
        engines = [(engine, ours, decided[engine]) for engine, ours in self.decided if engine in decided]
        return Part(
            self.samples + other.samples,
            tuple(ours + theirs for ours, theirs in both),
            tuple((engine, tuple(map(_sum, ours, theirs))) for engine, ours, theirs in engines),
            None if self.top_label is None or other.top_label is None else max(self.top_label, other.top_label),
            tuple(dict.fromkeys(self.notes + other.notes)),
        )

    @property
    def accuracy(self) -> dict[str, float]:
        """By engine, that of the first output that decides between classes."""
        if self.top_label is None:
            return {}
        classes = max(CLASSES_AT_LEAST, self.top_label + 1)
        scores = {}
        for engine, outputs in self.decided:
            fitting = [each.right for each in outputs if each is not None and each.classes >= classes]
            if fitting:
                scores[engine] = fitting[0] / self.samples
        return scores


def part_of(
    references: Sequence[Trace],
    candidates: Sequence[Trace],
    labels: Array | None,
    tolerance: float = TOLERANCE,
    metric: Metric | None = None,
    *,
    channels: bool = False,
) -> Part:
    """Every reference against every candidate, and, with two references, those against each other first.

    Raises:
        NotComparable: outputs that do not fit each other, or hold NaN or infinity.
        BadMetric: the user's own fails.
    """
    grids = candidates[0] if candidates else None
    first = [count(references[0], other, tolerance, grids) for other in references[1:]]
    rest = [
        count(reference, candidate, tolerance, channels=channels)
        for reference in references
        for candidate in candidates
    ]
    traces, counts = (*references, *candidates), (*first, *rest)
    if metric is not None:
        own = own_scores(metric, references[0], references[1:], labels)
        own += [each for reference in references for each in own_scores(metric, reference, candidates, labels)]
        counts = tuple(replace(each, own=said) for each, said in zip(counts, own, strict=True))
    notes = [note for trace in traces for note in trace.notes] + [note for each in counts for note in each.notes]
    return Part(
        samples=len(traces[0].outputs[0].array),
        counts=counts,
        decided=() if labels is None else tuple((trace.engine, _decided(trace, labels)) for trace in traces),
        top_label=None if labels is None else int(labels.max()),
        notes=tuple(dict.fromkeys(notes)),
    )


def _decided(trace: Trace, labels: Array) -> tuple[Decided | None, ...]:
    """One entry an output; only those decide that give one score a class and sample."""
    sizes = [value.array.size // len(value.array) for value in trace.outputs]
    return tuple(
        Decided(size, right_decisions(value.real, labels)) if size == value.array.shape[-1] else None
        for value, size in zip(trace.outputs, sizes, strict=True)
    )


def _sum(ours: Decided | None, theirs: Decided | None) -> Decided | None:
    if ours is None or theirs is None or ours.classes != theirs.classes:
        return None
    return Decided(ours.classes, ours.right + theirs.right)


@dataclass(frozen=True, slots=True)
class Failure:
    """A runtime that gave no result, and why, in one line."""

    runtime: str
    error: str


@dataclass(frozen=True, slots=True)
class Outcome(Shown):
    """Accuracies by engine, comparisons by pair, and what went wrong or deserves a word.

    ``warnings`` are what a reader must know of the data before any figure.
    ``made_by`` is how the numbers came about: versions, command, seed, data; ``artifacts`` are paths by what
    they hold; ``evidence`` comes with ``layers``.
    """

    accuracy: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerReport, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    warnings: tuple[str, ...] = ()


def hold_together(
    references: tuple[Trace, ...],
    candidates: tuple[Trace, ...],
    labels: Array | None,
    tolerance: float = TOLERANCE,
    metric: Metric | None = None,
    *,
    channels: bool = False,
) -> Outcome:
    """Compare every reference with every candidate, and, with two references, those with each other first.

    Raises:
        NotComparable: outputs that do not fit each other, or hold NaN or infinity.
    """
    return outcome_of(part_of(references, candidates, labels, tolerance, metric, channels=channels))


def outcome_of(whole: Part) -> Outcome:
    """The figures of all that was counted."""
    return Outcome(whole.accuracy, tuple(map(settle, whole.counts)), notes=whole.notes)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one condition says of one comparison: the ``value`` of its metric, and whether that makes them different.

    ``layer`` is the reference's name of the layer that it speaks of; empty for the outputs.
    """

    comparison: Comparison
    condition: Condition
    value: float
    different: bool
    layer: str = ""

    @property
    def says(self) -> str:
        """``max_steps is 3``, ``max_steps is 3 at conv2d``."""
        tolerance = f" at tolerance {self.comparison.tolerance:g}" if self.condition.metric == "not_close" else ""
        return f"{self.condition.metric} is {self.value:g}{tolerance}" + (f" at {self.layer}" if self.layer else "")

    @property
    def beyond(self) -> float:
        """How far the value lies from the limit."""
        return abs(self.value - self.condition.limit)


def judge(
    comparison: Comparison, conditions: tuple[Condition, ...], layers: Sequence[LayerReport] = ()
) -> tuple[Judgement, ...]:
    """Every condition asked of the comparison, or of its ``layers``; without conditions, whether outputs are close.

    Raises:
        BadExpression: a metric has no value here (no integer grid, no classes), or no layer has such a name.
    """
    return tuple(
        judgement
        for condition in conditions or (CLOSE,)
        for judgement in (
            _judge_layers(comparison, condition, layers) if condition.layer else [_judge(comparison, condition)]
        )
    )


def _judge(comparison: Comparison, condition: Condition) -> Judgement:
    value = value_of(comparison, condition.metric)
    if value is None:
        raise BadExpression(
            f"{condition}: {condition.metric} has no value for {comparison.reference} vs {comparison.candidate}; "
            "choose another metric"
        )
    return _judged(comparison, condition, value)


def _judged(comparison: Comparison, condition: Condition, value: float, layer: str = "") -> Judgement:
    return Judgement(comparison, condition, value, bool(OPERATORS[condition.sign](value, condition.limit)), layer)


def value_of(comparison: Comparison, metric: str) -> float | None:
    """A figure by its name; of the user's own numbers the candidate's, or ``NAME_difference`` from the reference's.

    Raises:
        BadExpression: no such name; the message lists them.
    """
    if metric in METRICS:
        return cast("float | None", getattr(comparison.figures, metric))
    own = {each.name: each.candidate for each in comparison.own}
    own |= {f"{each.name}_difference": each.difference for each in comparison.own}
    if metric not in own:
        raise BadExpression(f"no metric {metric!r}; there are {', '.join((*METRICS, *own))}")
    return own[metric]


def _judge_layers(comparison: Comparison, condition: Condition, reports: Sequence[LayerReport]) -> Iterator[Judgement]:
    pair = comparison.reference, comparison.candidate
    layers = [layer for report in reports if (report.reference, report.candidate) == pair for layer in report.layers]
    meant = [layer for layer in layers if _is_meant(layer, condition.layer)]
    if not meant:
        there = ", ".join(layer.reference for layer in layers) or "none"
        raise BadExpression(f"{condition}: no layer {condition.layer!r}; there are {there}")
    known = [(layer, value) for layer in meant if (value := _value(layer, condition.metric)) is not None]
    if not known:
        raise BadExpression(f"{condition}: {condition.metric} has no value for {meant[0].reference}; choose another")
    yield from (_judged(comparison, condition, value, layer.reference) for layer, value in known)


def _is_meant(layer: LayerResult, pattern: str) -> bool:
    """By its path in the reference, the last part of it, or the name of the tensor that it became."""
    names = layer.reference, layer.reference.rpartition("/")[2], layer.layer, layer.candidate
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _value(layer: LayerResult, metric: str) -> float | None:
    figures = layer.local if metric.startswith(LOCAL) else layer.figures
    value: float | None = None if figures is None else getattr(figures, metric.removeprefix(LOCAL))
    return value


def reasons(judgements: Sequence[Judgement]) -> tuple[str, ...]:
    """Why the two count as different, nothing where they count as the same."""
    judged = [each for each in judgements if each.different]
    return tuple(each.says if each.condition is CLOSE else f"{each.condition} ({each.says})" for each in judged)


def right_decisions(outputs: Array, labels: Array) -> int:
    """How many samples' largest output is the labelled class. Shapes: (samples, …, classes), (samples,).

    Raises:
        NotComparable: not one decision per label.
    """
    decisions = outputs.reshape(len(outputs), -1).argmax(axis=-1)
    if decisions.shape != labels.shape:
        raise NotComparable(f"{len(decisions)} decisions for {len(labels)} labels")
    return int(np.count_nonzero(decisions == labels))


def accuracy(outputs: Array, labels: Array) -> float:
    """Share of right decisions. Shapes: (samples, …, classes), (samples,).

    Raises:
        NotComparable: not one decision per label.
    """
    return right_decisions(outputs, labels) / len(labels)
