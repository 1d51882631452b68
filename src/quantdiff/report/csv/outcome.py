"""Values → CSV: one row per comparison."""

from __future__ import annotations

from dataclasses import asdict, fields

from quantdiff.compare.comparison import Figures
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.trial import Trial
from quantdiff.report.csv.table import csv_lines

COLUMNS = (
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
    return csv_lines(COLUMNS, rows, heading=False)


def header() -> str:
    """The line of column names."""
    return ",".join(COLUMNS) + "\n"
