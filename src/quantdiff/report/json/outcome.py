"""Outcome → the JSON document of ``run`` and ``diff``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from quantdiff.compare.comparison import Comparison, Output
from quantdiff.compare.metrics import Losses
from quantdiff.compare.outcome import Outcome
from quantdiff.compare.own_metric import OwnFigure
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
