"""The outcome of a comparison: everything compared, whole or in parts that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantdiff.compare.comparison import TOLERANCE, Comparison, Counts, count, settle
from quantdiff.compare.evidence import Evidence
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.metrics import right_decisions
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.errors import NotComparable
from quantdiff.quant import Array
from quantdiff.shown import Shown
from quantdiff.tally.stats import CLASSES_AT_LEAST
from quantdiff.trace import Trace


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
    own = own_scores(metric, references[0], references[1:], labels)
    own += [each for reference in references for each in own_scores(metric, reference, candidates, labels)]
    traces = (*references, *candidates)
    counts = tuple(replace(each, own=said) for each, said in zip((*first, *rest), own, strict=True))
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
