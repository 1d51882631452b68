"""Layer reports → the keys ``layers``, ``unaligned`` and ``layer_summaries`` of the JSON document of ``diff``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from quantdiff.align.alignment import Leftover
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult


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
