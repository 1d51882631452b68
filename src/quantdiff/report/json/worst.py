"""The worst inputs for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantdiff.report.json.explanation import explanation_document
from quantdiff.search.bound import Bound
from quantdiff.search.worst_case import WorstCase


def worst_document(found: WorstCase, out: Path) -> dict[str, Any]:
    """Every input that was found, what makes the first one's error, and the bound."""
    return {
        "schema": "quantdiff/1",
        "reference": found.reference,
        "candidate": found.candidate,
        "step": found.unit if found.steps else None,
        "max_abs_error": found.inputs[0].error * found.unit,
        "steps": found.inputs[0].error if found.steps else None,
        "max_steps": found.inputs[0].max_steps,
        "known_max_abs_error": found.known * found.unit,
        "within": None if found.inside is None or found.inside.within is None else found.inside.within * found.unit,
        "known_within": found.known_within * found.unit,
        "margin": None if found.flip is None else found.flip.margin,
        "known_margin": found.known_margin,
        "inputs": [
            {
                "max_abs_error": each.error * found.unit,
                "max_steps": each.max_steps,
                "within": None if each.within is None else each.within * found.unit,
                "margin": each.margin,
                "begun_with": each.begun,
            }
            for each in found.inputs
        ],
        "samples": found.samples,
        "tried": found.tried,
        "seconds": found.seconds,
        "near": found.near,
        "interrupted": found.interrupted,
        "explanation": None if found.explanation is None else explanation_document(found.explanation),
        "unexplained": found.unexplained,
        "bound": None if found.bound is None else _bound(found, found.bound),
        "warnings": [*found.warnings],
        "made_by": dict(found.made_by),
        "artifacts": {"data": str(out)},
    }


def _bound(found: WorstCase, bound: Bound) -> dict[str, Any]:
    return {
        "max_abs_error": None if bound.error is None else bound.error * found.unit,
        "unclipped": None if bound.unclipped is None else bound.unclipped * found.unit,
        "looseness": found.looseness,
        "settled": bound.settled,
        "samples": bound.samples,
        "operators": bound.operators,
        "stopped": bound.stopped,
    }
