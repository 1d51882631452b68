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
from quantdiff.progress import Progress
from quantdiff.recording import BoundModel
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.keras.recorder import KerasRecorder
from quantdiff.run.exposed import Engine
from quantdiff.run.tflite import bound_inputs
from quantdiff.run.tflite_recorder import TfliteRecorder
from quantdiff.trace import Trace

Opened = KerasRecorder | TfliteRecorder


def compare_layers(
    reference: BoundModel, candidate: BoundModel, progress: Progress, pairing: Pairing | None = None
) -> LayerReport:
    """Every aligned pair of two watched models."""
    pairing = pairing or pair_models(reference, candidate)
    ends, notes = ends_of(pairing)
    decisions, count = Decisions(ends), len(reference.inputs[0])
    sums, changed = watch_pairs(pairing, reference, candidate, decisions, lambda done: progress("layers", done, count))
    engines = pairing.reference.engine, pairing.candidate.engine
    shaken = tuple(
        f"{many} outputs of {engine} changed when its inner values were read: do not rely on these figures"
        for engine, many in zip(engines, changed, strict=True)
        if many
    )
    return report_of(pairing, sums, decisions, (*shaken, *notes))


def watch(model: KerasModel | Model, runtime: str, settings: Settings) -> Opened:
    """The model, ready to be watched; a context manager."""
    if isinstance(model, KerasModel):
        return KerasRecorder(model)
    return TfliteRecorder(model, Engine(runtime, settings.timeout))


def side_of(watched: Opened, batch: Batch, plain: Trace | None = None) -> BoundModel:
    """A watched model with the data bound to its inputs, and its outputs as nobody watched; raises ``BadData``."""
    expected = tuple(value.array for value in plain.outputs) if plain is not None else ()
    if isinstance(watched, KerasRecorder):
        return BoundModel(watched, bind(batch, watched.model.inputs, watched.model.name), expected)
    return BoundModel(watched, bound_inputs(watched.model, batch), expected)


def layer_reports(
    reference: KerasModel | Model,
    candidate: KerasModel | Model,
    batch: Batch,
    plain: tuple[Trace, Sequence[Trace]],
    settings: Settings,
    progress: Progress,
) -> tuple[tuple[LayerReport, ...], tuple[Failure, ...]]:
    """A report per runtime of the candidate, and why one has none.

    ``plain`` are the traces of both as nobody watched: they say which runtimes, and what must not change.

    Raises:
        QuantdiffError: the data do not fit a model, or the reference does not run.
    """
    reports, failures = list[LayerReport](), list[Failure]()
    with watch(reference, runtime_of(plain[0]), settings) as ours:
        side = side_of(ours, batch, plain[0])
        for trace in plain[1]:
            try:
                with watch(candidate, runtime_of(trace), settings) as theirs:
                    reports.append(compare_layers(side, side_of(theirs, batch, trace), progress))
            except RuntimeFailed as error:
                failures.append(Failure(runtime_of(trace), f"layer by layer: {error}"))
    return tuple(reports), tuple(failures)


def runtime_of(trace: Trace) -> str:
    """The runtime that a trace comes from: ``xnnpack`` of ``tflite:xnnpack``."""
    return trace.engine.rpartition(":")[2]
