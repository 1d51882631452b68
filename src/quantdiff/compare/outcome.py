"""Outcome: what ``run`` and ``diff`` found, as one value that text, JSON and CSV render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.compare.comparison import TOLERANCE, Comparison, compare
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.metrics import CLASSES_AT_LEAST, accuracy
from quantdiff.quant import Array
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class Failure:
    """A runtime that gave no result, and why, in one line."""

    runtime: str
    error: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracies by engine, comparisons by pair, and what went wrong or deserves a word.

    ``made_by`` is how the numbers came about: versions, command, seed, data; ``artifacts`` are paths by what
    they hold.
    """

    accuracy: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerReport, ...] = ()


def hold_together(
    references: tuple[Trace, ...],
    candidates: tuple[Trace, ...],
    labels: Array | None,
    tolerance: float = TOLERANCE,
) -> Outcome:
    """Compare every reference with every candidate, and, with two references, those with each other first.

    Raises:
        NotComparable: outputs that do not fit each other, or hold NaN or infinity.
    """
    grids = candidates[0] if candidates else None
    first = [compare(references[0], other, tolerance, grids) for other in references[1:]]
    rest = [compare(reference, candidate, tolerance) for reference in references for candidate in candidates]
    traces = (*references, *candidates)
    scores = {t.engine: score for t in traces if (score := _score(t, labels)) is not None}
    comparisons = (*first, *rest)
    notes = [note for trace in traces for note in trace.notes] + [n for c in comparisons for n in c.notes]
    return Outcome(scores, comparisons, notes=tuple(dict.fromkeys(notes)))


def _score(trace: Trace, labels: Array | None) -> float | None:
    """Accuracy of the first output that decides between classes, one decision a sample."""
    if labels is None:
        return None
    for value in trace.outputs:
        per_sample = value.array.size // len(value.array)
        if per_sample == value.array.shape[-1] >= max(CLASSES_AT_LEAST, int(labels.max()) + 1):
            return accuracy(value.real, labels)
    return None
