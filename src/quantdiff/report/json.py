"""Values → JSON: one document, numbers never rounded, NaN and infinity as strings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.outcome import Outcome

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
        "artifacts": dict(outcome.artifacts),
    }


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """One comparison, flat, with the figures of each output where there are several."""
    document = {
        "reference": comparison.reference,
        "candidate": comparison.candidate,
        "tolerance": comparison.tolerance,
        **asdict(comparison.figures),
    }
    if len(comparison.outputs) > 1:
        document["outputs"] = [
            {"reference": output.reference, "candidate": output.candidate, **asdict(output.figures)}
            for output in comparison.outputs
        ]
    return document


def to_json(document: Any) -> str:
    """Text of a document; what JSON has no number for is written ``"NaN"``, ``"Infinity"``, ``"-Infinity"``."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
