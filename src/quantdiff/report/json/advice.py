"""Advice → the JSON document of ``advise``."""

from __future__ import annotations

from typing import Any

from quantdiff.ladder.advice.advised import Advised
from quantdiff.ladder.advice.choices import Choice
from quantdiff.ladder.advice.search import Tried
from quantdiff.report.json.outcome import SCHEMA, comparison_document


def advice_document(found: Advised) -> dict[str, Any]:
    """What each choice would do, the best first; the set; what was written and measured."""
    return {
        "schema": SCHEMA,
        **found.made_by,
        "now": comparison_document(found.now),
        "plain": comparison_document(found.plain),
        "until": [str(condition) for condition in found.until],
        "met": found.met,
        "complete": found.complete,
        "considered": found.considered,
        "choices": [_tried(each) for each in found.alone],
        "chosen": None if found.chosen is None else _tried(found.chosen),
        "proven": found.proven,
        "measured": None if found.measured is None else comparison_document(found.measured),
        "files": dict(found.files),
        "notes": list(found.notes),
        "artifacts": dict(found.artifacts),
    }


def _tried(tried: Tried) -> dict[str, Any]:
    return {"choices": [_choice(each) for each in tried.choices], "then": comparison_document(tried.then)}


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "kind": choice.kind,
        "change": choice.change,
        "where": choice.where,
        "tensor": choice.at,
        "operators": sorted(i for i in choice.operators if i >= 0),
    }
