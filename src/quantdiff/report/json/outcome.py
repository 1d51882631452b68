"""Outcome → the JSON document of ``run`` and ``diff``, with its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from quantdiff.align.alignment import Leftover
from quantdiff.compare.comparison import Comparison, Losses, Output
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.outcome import Outcome
from quantdiff.compare.own_metric import OwnFigure

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


def own_document(own: Sequence[OwnFigure]) -> dict[str, Any]:
    """The numbers of the user's metric, by name."""
    return {
        each.name: {"reference": each.reference, "candidate": each.candidate, "difference": each.difference}
        for each in own
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
        document["metric"] = own_document(comparison.own)
    if len(comparison.outputs) > 1:
        document["outputs"] = [
            {"reference": output.reference, "candidate": output.candidate, **asdict(output.figures)}
            for output in comparison.outputs
        ]
    document["lost"] = [_losses(output.candidate, output.losses) for output in comparison.outputs if output.losses]
    if any(output.channels for output in comparison.outputs):
        document["channels"] = [each for output in comparison.outputs for each in _channels(output)]
    return document


def _losses(output: str, losses: Losses) -> dict[str, Any]:
    return {
        "output": output,
        "outside": None if losses.outside is None else losses.outside / losses.count,
        "outside_steps": losses.outside_steps,
        "axis": losses.axis,
        "channels": losses.channels,
        "constant": losses.constant,
        "few": losses.few,
    }


def _channels(output: Output) -> Iterator[dict[str, Any]]:
    values = output.losses.values if output.losses else ()
    for i, (figures, count) in enumerate(zip(output.channels, values, strict=True)):
        yield {"output": output.candidate, "channel": i, "values": count, **asdict(figures)}


def layers_document(reports: Sequence[LayerReport]) -> dict[str, Any]:
    """One flat list of layers, each with its engine; leftovers of both sides; what to look at first, per engine."""
    return {
        "layers": [{"engine": report.candidate, **_layer(layer)} for report in reports for layer in report.layers],
        "unaligned": {
            "reference": [_leftover(each) for each in reports[0].only_reference],
            "candidate": [_leftover(each) for each in reports[0].only_candidate],
        },
        "layer_summaries": [_summary(report) for report in reports],
    }


def _layer(layer: LayerResult) -> dict[str, Any]:
    local = None if layer.local is None else asdict(layer.local)
    alone = {f"local_{field.name}": local and local[field.name] for field in fields(LayerFigures)}
    rest = {key: value for key, value in asdict(layer).items() if key not in ("figures", "local")}
    return {**rest, **asdict(layer.figures), **alone}


def _leftover(leftover: Leftover) -> dict[str, str]:
    return {"name": leftover.name, "op": leftover.op, "why": leftover.why}


def _summary(report: LayerReport) -> dict[str, Any]:
    return {
        "reference": report.reference,
        "candidate": report.candidate,
        "same_model": not report.unrelated,
        "strangers": report.unrelated,
        "first_differing": _name(report, report.first_differing),
        "adds_most": _name(report, report.adds_most),
        "worst_samples": [asdict(each) for each in report.worst_samples],
        "flipped": report.flipped,
        "decided": report.decided,
        "flips": [asdict(each) for each in report.flips],
        "notes": list(report.notes),
    }


def _name(report: LayerReport, place: int | None) -> str | None:
    return None if place is None else report.layers[place].reference
