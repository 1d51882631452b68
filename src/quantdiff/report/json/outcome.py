"""Outcome → the JSON document of ``run`` and ``diff``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.outcome import Outcome
from quantdiff.report.json.layers import layers_document

SCHEMA = "quantdiff/1"


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """The document of ``run`` and ``diff``."""
    return {
        "schema": SCHEMA,
        **outcome.made_by,
        "accuracy": dict(outcome.accuracy),
        "comparisons": [comparison_document(comparison) for comparison in outcome.comparisons],
        "failures": [asdict(failure) for failure in outcome.failures],
        "notes": list(outcome.notes),
        "warnings": list(outcome.warnings),
        "artifacts": dict(outcome.artifacts),
        **(layers_document(outcome.layers) if outcome.layers else {}),
    }


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """One comparison, flat, with the figures of each output where there are several."""
    document = {
        "reference": comparison.reference,
        "candidate": comparison.candidate,
        "tolerance": comparison.tolerance,
        **asdict(comparison.figures),
    }
    if comparison.own:
        document["metric"] = {
            each.name: {"reference": each.reference, "candidate": each.candidate, "difference": each.difference}
            for each in comparison.own
        }
    if len(comparison.outputs) > 1:
        document["outputs"] = [
            {"reference": output.reference, "candidate": output.candidate, **asdict(output.figures)}
            for output in comparison.outputs
        ]
    return document
