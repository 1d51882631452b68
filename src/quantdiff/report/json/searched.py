"""What was searched for or cut out, as JSON documents: the worst inputs, a part of a model, changes that help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantdiff.ladder.advice.advised import Advised, Tried
from quantdiff.ladder.advice.plans import Choice
from quantdiff.report.json.explanation import explanation_document
from quantdiff.report.json.outcome import SCHEMA, comparison_document
from quantdiff.run.extracts import Extract
from quantdiff.search.bound import Bound
from quantdiff.search.fault import INPUTS
from quantdiff.search.reduction import Reduction
from quantdiff.search.worst import WorstCase


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


def reduction_document(found: Reduction, out: Path) -> dict[str, Any]:
    """What is left, what it says, and the command that shows it."""
    part, bare = found.left, found.anonymous
    return {
        "schema": "quantdiff/1",
        "check": found.check,
        "before": found.before,
        "after": part.says,
        "operators": [int(name.partition(" ")[0]) for name in part.operators],
        "operators_before": found.operators,
        "samples": len(part.rows),
        "samples_before": found.samples,
        "data": found.data,
        "bytes": {name: len(content) for name, content in part.models.items()},
        "bytes_before": found.size,
        "tries": found.search.tries,
        "ended": found.search.ended,
        "anonymous": None if bare is None else {"replaced": bare.replaced, "kept": [*bare.kept]},
        "command": found.line(out),
        "artifacts": {**{name: str(out / name) for name in part.models}, "data": str(out / INPUTS)},
    }


def extract_document(part: Extract, model: Path, out: Path, inputs: Path | None) -> dict[str, Any]:
    """What was cut out, where it stands now, and whether it gives what it gives in the whole."""
    return {
        "schema": "quantdiff/1",
        "model": str(model),
        "operators": [int(name.partition(" ")[0]) for name in part.names],
        "inputs": [*part.ends[0]],
        "outputs": [*part.ends[1]],
        "data": part.source,
        "samples": len(part.batch),
        "runtime": part.runtime,
        "bytes": len(part.model),
        "count": part.count,
        "mismatches": part.mismatches,
        "artifacts": {"model": str(out), "data": None if inputs is None else str(inputs)},
    }


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
