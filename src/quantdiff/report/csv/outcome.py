"""Values → CSV: one row per comparison."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields

from quantdiff.compare.comparison import Figures
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.trial import Trial

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
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    for comparison in outcome.comparisons:
        writer.writerow(
            {
                **asdict(trial),
                "reference": comparison.reference,
                "candidate": comparison.candidate,
                "reference_accuracy": outcome.accuracy.get(comparison.reference),
                "candidate_accuracy": outcome.accuracy.get(comparison.candidate),
                "tolerance": comparison.tolerance,
                **asdict(comparison.figures),
            }
        )
    return text.getvalue()


def header() -> str:
    """The line of column names."""
    return ",".join(COLUMNS) + "\n"
