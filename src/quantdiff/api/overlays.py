"""The error of every layer, as files that paint a graph in Model Explorer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantdiff.api.comparisons import diff, diff_opened
from quantdiff.api.engines import DEFAULTS, Settings, open_pair
from quantdiff.api.explanations import explain, explain_opened
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.errors import NotComparable
from quantdiff.graph import Graph
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.report.folder import staged
from quantdiff.report.json.text import json_text
from quantdiff.report.overlay import Overlay, layer_overlays, rung_overlays
from quantdiff.run.data_in_parts import InParts
from quantdiff.run.inputs import load_data
from quantdiff.run.runner import Progress, silent


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
    data: str | Path | Batch | InParts,
    out: Path,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
) -> Overlays:
    """Write a file for every metric of ``diff`` and for every rung of ``explain``.

    The format is the node data of Model Explorer: ``{"results": {name: {"value": …}}, "gradient": …}``.

    Args:
        reference: a Keras model or a ``.tflite``.
        candidate: the ``.tflite`` whose graph is painted.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units; or
            ``InParts``, many of these, and who works on them.
        out: the folder for the files; made where it is missing.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        What was written, and what could not be.

    Raises:
        QuantdiffError: as ``diff`` and ``explain``; the candidate is no ``.tflite``, or no layer has a partner; or
            ``out`` cannot be written.
    """
    with staged(out) as folder:
        graph, outcome, found, failures = _compared((reference, candidate), data, settings, progress)
        written = tuple(_overlays(outcome, found, graph))
        if not written and not failures:
            raise NotComparable(f"{candidate}: no layer of it has a partner in {reference}: nothing to paint")
        for each in written:
            (folder / each.file).write_text(json_text(each.document()) + "\n", encoding="utf-8")
    return Overlays(written, failures, outcome)


def _compared(
    files: tuple[str | Path, str | Path], data: str | Path | Batch | InParts, settings: Settings, progress: Progress
) -> tuple[Graph, Outcome, tuple[Explanation, ...], tuple[Failure, ...]]:
    """What is painted on which graph: the layers, and the rungs where there are any."""
    ladders = len(settings.runtimes) > 1 or Path(files[0]) != Path(files[1])
    if isinstance(data, InParts):
        graph = load_tflite(Path(files[1])).main
        outcome = diff(*files, data, settings, progress, layers=True)
        answer = explain(*files, data, settings, progress) if ladders else Explanations((), ())
    else:
        batch = load_data(data, files[1])
        with open_pair(*files, settings, batch) as pair:
            graph = pair.candidate.wanted("overlay").main
            outcome = diff_opened(pair, batch, settings, progress, layers=True)
            answer = explain_opened(pair, batch, settings, progress) if ladders else Explanations((), ())
    return graph, outcome, answer.found, tuple(dict.fromkeys(outcome.failures + answer.failures))


def _overlays(outcome: Outcome, found: tuple[Explanation, ...], graph: Graph) -> Iterator[Overlay]:
    for report in outcome.layers:
        yield from layer_overlays(report, graph)
    for explanation in found:
        yield from rung_overlays(explanation, graph)
