"""Results as CSV: one row per comparison of a sweep or a run; no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.store import Stored
from quantdiff.experiment.trial import Score, Trial
from quantdiff.report.text.terminal import printable

FIGURES = tuple(field.name for field in fields(Figures))
TRIAL = ("model", "seed", "condition", "calibration", "data", "epochs", "bias")
COLUMNS = (*TRIAL, "engine", "accuracy", "error_rate", "reference", "candidate", "tolerance", *FIGURES, "error")


def sweep_csv(trials: Iterable[Stored]) -> str:
    """All trials with a header; a figure without a value is an empty field.

    The numbers of the user's metric stand at the end: ``NAME_reference``, ``NAME_candidate``, ``NAME_difference``.
    """
    rows = [row for stored in trials for row in _rows(stored)]
    own = [name for row in rows for name in row if name not in COLUMNS]
    return csv_lines((*COLUMNS, *dict.fromkeys(own)), rows, heading=True)


def trial_fields(stored: Stored) -> dict[str, Any]:
    """What was tried, by the names of the columns."""
    trial, training = stored.trial, stored.trial.training
    values = (training.model.name, training.seed, trial.condition, trial.calibration)
    return dict(zip(TRIAL, (*values, training.data.name, training.epochs, training.bias), strict=True))


def _rows(stored: Stored) -> Iterator[dict[str, Any]]:
    what, result = trial_fields(stored), stored.result
    if result is None:
        yield {**what, "error": stored.error}
        return
    scores = {score.engine: score for score in result.scores}
    for comparison in result.comparisons:
        score = scores.get(comparison.candidate) or scores.get(comparison.reference)
        yield {**what, **(_score(score) if score else {}), **comparison_fields(comparison), **_own(comparison)}
    compared = {name for c in result.comparisons for name in (c.candidate, c.reference)}
    yield from ({**what, **_score(score)} for score in result.scores if score.engine not in compared)
    yield from ({**what, "engine": f.runtime, "error": f.error} for f in result.failures)


def _score(score: Score) -> dict[str, Any]:
    return {"engine": score.engine, "accuracy": score.accuracy, "error_rate": score.error_rate}


def _own(comparison: Comparison) -> dict[str, float]:
    sides = ("reference", "candidate", "difference")
    return {f"{each.name}_{side}": getattr(each, side) for each in comparison.own for side in sides}


def comparison_fields(comparison: Comparison) -> dict[str, Any]:
    """Both sides, the tolerance, and every figure by its name."""
    sides = {name: getattr(comparison, name) for name in ("reference", "candidate", "tolerance")}
    return {**sides, **asdict(comparison.figures)}


RUN_COLUMNS = (
    *(field.name for field in fields(Trial)),
    "reference",
    "candidate",
    "reference_accuracy",
    "candidate_accuracy",
    "tolerance",
    *(field.name for field in fields(Figures)),
)


def summary_rows(trial: Trial, outcome: Outcome) -> str:
    """The comparisons of one trial as CSV lines, without a header; a figure without a value is an empty field."""
    rows = (
        {
            **asdict(trial),
            "reference": comparison.reference,
            "candidate": comparison.candidate,
            "reference_accuracy": outcome.accuracy.get(comparison.reference),
            "candidate_accuracy": outcome.accuracy.get(comparison.candidate),
            "tolerance": comparison.tolerance,
            **asdict(comparison.figures),
        }
        for comparison in outcome.comparisons
    )
    return csv_lines(RUN_COLUMNS, rows, heading=False)


def header() -> str:
    """The line of column names."""
    return ",".join(RUN_COLUMNS) + "\n"


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of a text that a spreadsheet runs (https://owasp.org/www-community/attacks/CSV_Injection)."""


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, heading: bool) -> str:
    """The rows by the names of the columns; what has no value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if heading:
        writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A number as it is; a text on one line, behind an apostrophe where a spreadsheet would run it."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(FORMULA) else "") + printable(value)
