"""Two models on the same data, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.align.watched import Pairing, pair_models
from quantdiff.api.settings import Settings
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.report import LayerReport, ends_of, report_of
from quantdiff.compare.layers.watch import watch_pairs
from quantdiff.compare.outcome import Failure
from quantdiff.errors import RuntimeFailed
from quantdiff.graph import Model
from quantdiff.load.data import Batch, bind
from quantdiff.load.keras import KerasModel
from quantdiff.progress import Progress
from quantdiff.run.keras_flow import WatchedKeras
from quantdiff.run.tflite import bound_inputs
from quantdiff.run.tflite_flow import Engine, WatchedTflite
from quantdiff.run.watched import Side

Opened = WatchedKeras | WatchedTflite


def compare_layers(reference: Side, candidate: Side, progress: Progress, pairing: Pairing | None = None) -> LayerReport:
    """Every aligned pair of two watched models."""
    pairing = pairing or pair_models(reference, candidate)
    ends, notes = ends_of(pairing)
    decisions, count = Decisions(ends), len(reference.inputs[0])
    sums = watch_pairs(pairing, reference, candidate, decisions, lambda done: progress("layers", done, count))
    return report_of(pairing, sums, decisions, notes)


def watch(model: KerasModel | Model, runtime: str, settings: Settings) -> Opened:
    """The model, ready to be watched; a context manager."""
    if isinstance(model, KerasModel):
        return WatchedKeras(model)
    return WatchedTflite(model, Engine(runtime, settings.timeout))


def side_of(watched: Opened, batch: Batch) -> Side:
    """A watched model with the data bound to its inputs; raises ``BadData``."""
    if isinstance(watched, WatchedKeras):
        return Side(watched, bind(batch, watched.model.inputs, watched.model.name))
    return Side(watched, bound_inputs(watched.model, batch))


def layer_reports(
    reference: KerasModel | Model,
    candidate: KerasModel | Model,
    batch: Batch,
    engines: tuple[str, Sequence[str]],
    settings: Settings,
    progress: Progress,
) -> tuple[tuple[LayerReport, ...], tuple[Failure, ...]]:
    """A report per runtime of the candidate, and why one has none.

    ``engines`` are the reference's runtime and the candidate's.

    Raises:
        QuantdiffError: the data do not fit a model, or the reference does not run.
    """
    first, others = engines
    reports, failures = list[LayerReport](), list[Failure]()
    with watch(reference, first, settings) as ours:
        for runtime in others:
            try:
                with watch(candidate, runtime, settings) as theirs:
                    reports.append(compare_layers(side_of(ours, batch), side_of(theirs, batch), progress))
            except RuntimeFailed as error:
                failures.append(Failure(runtime, f"layer by layer: {error}"))
    return tuple(reports), tuple(failures)
