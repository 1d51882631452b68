"""Outcome: what ``run`` and ``diff`` found, as one value that text, JSON and CSV render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.compare.comparison import TOLERANCE, Comparison, settle
from quantdiff.compare.evidence import Evidence
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.parts import Part, part_of
from quantdiff.quant import Array
from quantdiff.shown import Shown
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class Failure:
    """A runtime that gave no result, and why, in one line."""

    runtime: str
    error: str


@dataclass(frozen=True, slots=True)
class Outcome(Shown):
    """Accuracies by engine, comparisons by pair, and what went wrong or deserves a word.

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
    return outcome_of(part_of(references, candidates, labels, tolerance))


def outcome_of(whole: Part) -> Outcome:
    """The figures of all that was counted."""
    return Outcome(whole.accuracy, tuple(map(settle, whole.counts)), notes=whole.notes)
