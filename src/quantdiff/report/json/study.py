"""Results that were kept, as JSON documents: trials of a sweep, and what moved between two results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from quantdiff.compare.moved import Movement
from quantdiff.experiment.store import Stored
from quantdiff.report.csv.study import comparison_fields, trial_fields
from quantdiff.report.json.outcome import SCHEMA, own_document


def sweep_document(trials: Sequence[Stored], store: str) -> dict[str, Any]:
    """Every trial with all that it found."""
    return {"schema": SCHEMA, "command": "sweep", "store": store, "trials": [_document(each) for each in trials]}


def _document(stored: Stored) -> dict[str, Any]:
    document = {**trial_fields(stored), "key": stored.trial.key, "versions": dict(stored.trial.training.versions)}
    if stored.result is None:
        return {**document, "error": stored.error}
    result = stored.result
    scores = {s.engine: {"accuracy": s.accuracy, "error_rate": s.error_rate, "count": s.count} for s in result.scores}
    return {
        **document,
        "scores": scores,
        "comparisons": [
            {**comparison_fields(each), **({"metric": own_document(each.own)} if each.own else {})}
            for each in result.comparisons
        ],
        "ranges": [asdict(each) for each in result.ranges],
        "failures": [asdict(failure) for failure in result.failures],
    }


def movement_document(found: Movement) -> dict[str, Any]:
    """Every figure that is otherwise, and what else changed."""
    moved = [
        {
            "section": each.section,
            "whose": each.whose,
            "figure": each.figure,
            "before": each.before,
            "after": each.after,
            "change": each.change,
        }
        for each in found.moved
    ]
    versions = [{"package": name, "before": before, "after": after} for name, before, after in found.versions]
    return {
        "schema": SCHEMA,
        "command": "report",
        "before": found.before,
        "after": found.after,
        "moved": moved,
        "same": found.same,
        "packages": versions,
    }
