"""Explanation → the JSON document of ``explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from quantdiff.compare.outcome import Failure
from quantdiff.ladder.explanation import Explanation
from quantdiff.report.json.outcome import SCHEMA


def explanations_document(found: Sequence[Explanation], failures: Sequence[Failure] = ()) -> dict[str, Any]:
    """The first explanation's keys at the top; with several runtimes all of them under ``explanations``."""
    document: dict[str, Any] = {"schema": SCHEMA}
    if found:
        document |= explanation_document(found[0])
    if len(found) > 1:
        document["explanations"] = [explanation_document(each) for each in found]
    document["failures"] = [asdict(failure) for failure in failures]
    return document


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """One explanation, every key of its own and ``closed`` for both ends."""
    document = asdict(explanation)
    made_by, artifacts = document.pop("made_by"), document.pop("artifacts")
    closed = {"reference": document.pop("closed_reference"), "candidate": document.pop("closed_candidate")}
    advice = [{**asdict(each), "text": each.text} for each in explanation.advice]
    leading = explanation.leading.mechanism if explanation.leading else None
    exactly, closed_form = document.pop("expected_exactly"), document.pop("expected")
    expected = {"simulator": exactly, "closed_form": closed_form, "measured": explanation.measured}
    return {
        **made_by,
        **document,
        "closed": closed,
        "expected": expected,
        "leading": leading,
        "advice": advice,
        "artifacts": artifacts,
    }
