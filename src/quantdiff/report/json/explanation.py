"""Explanation → the JSON document of ``explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from quantdiff.compare.outcome import Failure
from quantdiff.ladder.explanation import KERNEL, ROUNDING, Explanation, Frontier, Rung
from quantdiff.report.json.outcome import SCHEMA
from quantdiff.report.text.explanation import sentence, warnings


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
    """One explanation, every key of its own and ``closed`` for both ends; shares and items of the frontier on top."""
    document = asdict(explanation)
    made_by, artifacts = document.pop("made_by"), document.pop("artifacts")
    closed = {"reference": document.pop("closed_reference"), "candidate": document.pop("closed_candidate")}
    advice = [{**asdict(each), "text": each.text} for each in explanation.advice]
    exactly, closed_form = document.pop("expected_exactly"), document.pop("expected")
    expected = {"simulator": exactly, "closed_form": closed_form, "measured": explanation.measured}
    frontier = document.pop("frontier") or {}
    document.pop("of_the_data")  # stands among the warnings
    return {
        **made_by,
        **document,
        "rungs": [{**asdict(rung), **_by_itself(explanation.frontier, rung)} for rung in explanation.rungs],
        "closed": closed,
        "expected": expected,
        "leading": explanation.leading,
        "sentence": sentence(explanation),
        "warnings": list(warnings(explanation)),
        "shares": frontier.get("shares", {}),
        "powers": frontier.get("powers", {}),
        "frontier": list(frontier.get("items", ())),
        "shapley": frontier.get("shapley", {}),
        "come_right": frontier.get("come_right", {}),
        "frontier_samples": frontier.get("samples", 0),
        "output_grid": frontier.get("output_grid"),
        "error_rms_steps": frontier.get("rms_steps"),
        "advice": advice,
        "artifacts": artifacts,
    }


def _by_itself(frontier: Frontier | None, rung: Rung) -> dict[str, int | None]:
    """``alone`` and ``without`` of a rung, of the samples that were taken apart; the kernel's stand at ``rounding``."""
    name = KERNEL if rung.mechanism == ROUNDING else rung.mechanism
    both = {"alone": frontier.alone, "without": frontier.without} if frontier is not None else {}
    return {key: both[key].get(name) if both else None for key in ("alone", "without")}
