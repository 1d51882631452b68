"""The error of every layer, as files that paint a graph in Model Explorer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantdiff.api.comparisons import diff_opened
from quantdiff.api.engines import DEFAULTS, Settings, open_pair
from quantdiff.api.explanations import explain_opened
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.errors import NotComparable
from quantdiff.graph import Graph
from quantdiff.ladder.explanation import Explanation
from quantdiff.load.data import Batch
from quantdiff.progress import Progress, silent
from quantdiff.report.folder import staged
from quantdiff.report.overlay import Overlay, layer_overlays, rung_overlays
from quantdiff.report.plain import json_text
from quantdiff.run.data_sources import load_data


@dataclass(frozen=True, slots=True)
class Overlays:
    """What ``overlay`` gives.

    Attributes:
        written: the files, a value per painted tensor of the graph.
        failures: the runtimes that gave none, with the reason.
        outcome: the comparison that the values come from.
    """

    written: tuple[Overlay, ...]
    failures: tuple[Failure, ...]
    outcome: Outcome


def overlay(
    reference: str | Path,
    candidate: str | Path,
    data: str | Path | Batch,
    out: Path,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
) -> Overlays:
    """Write a file for every metric of ``diff`` and for every rung of ``explain``.

    The format is the node data of Model Explorer: ``{"results": {name: {"value": …}}, "gradient": …}``.

    Args:
        reference: a Keras model or a ``.tflite``.
        candidate: the ``.tflite`` whose graph is painted.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units.
        out: the folder for the files; made where it is missing.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        What was written, and what could not be.

    Raises:
        QuantdiffError: as ``diff`` and ``explain``; the candidate is no ``.tflite``, or no layer has a partner; or
            ``out`` cannot be written.
    """
    batch = load_data(data, candidate)
    with open_pair(reference, candidate, settings, batch) as pair, staged(out) as folder:
        graph = pair.candidate.wanted("overlay").main
        outcome = diff_opened(pair, batch, settings, progress, layers=True)
        found, failures = tuple[Explanation, ...](), outcome.failures
        if len(settings.runtimes) > 1 or Path(reference) != Path(candidate):
            answer = explain_opened(pair, batch, settings, progress)
            found, failures = answer.found, tuple(dict.fromkeys(failures + answer.failures))
        written = tuple(_overlays(outcome, found, graph))
        if not written and not failures:
            raise NotComparable(f"{candidate}: no layer of it has a partner in {reference}: nothing to paint")
        for each in written:
            (folder / each.file).write_text(json_text(each.document()) + "\n")
    return Overlays(written, failures, outcome)


def _overlays(outcome: Outcome, found: tuple[Explanation, ...], graph: Graph) -> Iterator[Overlay]:
    for report in outcome.layers:
        yield from layer_overlays(report, graph)
    for explanation in found:
        yield from rung_overlays(explanation, graph)
