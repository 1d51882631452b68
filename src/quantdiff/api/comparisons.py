"""Two models on the same data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantdiff.api.engines import (
    DEFAULTS,
    OpenedPair,
    Settings,
    Source,
    device_notes,
    open_pair,
    trace_everywhere,
    trace_first,
)
from quantdiff.api.inputs import check_inputs, laid_out
from quantdiff.compare.evidence import evidence_of
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.outcome import Outcome, hold_together
from quantdiff.load.data import Batch
from quantdiff.run.data_in_parts import InParts
from quantdiff.run.inputs import load_data
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import entry_of, versions


def diff(
    reference: Source,
    candidate: Source,
    data: str | Path | Batch | InParts,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    *,
    layers: bool = False,
) -> Outcome:
    """Compare two models on the same data; with ``layers`` also layer by layer, and with what a page shows besides.

    A ``.tflite`` candidate runs on every runtime of ``settings``, a ``.tflite`` reference on the first of them that
    runs it. The formulas of all figures are those of ``quantdiff.compare.metrics``.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or ``.tflite``, or a model in memory: what the other is
            compared with.
        candidate: as ``reference``.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units; or
            ``InParts``, many of these, and who works on them. Its models are files.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.
        layers: compare every layer with its tensor as well.

    Returns:
        Accuracies by engine, and a comparison per engine of the candidate, in real units and in steps.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or the reference cannot run.
            A runtime on which the candidate fails is a ``Failure`` in the result.
    """
    if isinstance(data, InParts) and not _of_a_dump(data, settings):
        from quantdiff.api.shards import diff_in_parts  # noqa: PLC0415 (which brings what inner values need)

        return diff_in_parts(reference, candidate, data, settings, progress, layers=layers)
    if isinstance(data, InParts):
        data = load_data(data.data[0], candidate, data.images, data.audio)
    batch = load_data(data, candidate)
    with open_pair(reference, candidate, settings, batch) as pair:
        return diff_opened(pair, batch, settings, progress, layers=layers)


def _of_a_dump(data: InParts, settings: Settings) -> bool:
    """Whether one data set is for a runtime that knows all its samples at once."""
    return data.on is None and len(data.sources) == 1 and any(entry_of(name).file for name in settings.runtimes)


def diff_opened(
    pair: OpenedPair, batch: Batch, settings: Settings, progress: Progress = silent, *, layers: bool = False
) -> Outcome:
    """As ``diff``, of models that are open."""
    (names, told), metric = check_inputs(pair, batch), settings.own_metric
    batch = names.of(batch)
    pair = laid_out(pair, batch, settings.layouts)
    engine, first, unfit = trace_first(pair.reference, batch, progress)
    ran, failures = trace_everywhere(pair.candidate, batch, progress)
    candidates = tuple(trace for _, trace in ran)
    reports: tuple[LayerReport, ...] = ()
    if layers and ran:
        from quantdiff.api.shards import layer_reports  # noqa: PLC0415 (plain diff does not pay for it)

        reports, without = layer_reports((engine, first), ran, batch, progress)
        failures += without
    if first.engine in {trace.engine for trace in candidates}:
        first = replace(first, engine=f"reference:{first.engine}")
        reports = tuple(replace(report, reference=first.engine) for report in reports)
    seen = [each for trace in candidates if layers for each in evidence_of(first, trace, batch)]
    return replace(
        hold_together((first,), candidates, batch.labels, settings.tolerance, metric, channels=settings.channels),
        failures=tuple(dict.fromkeys(unfit + failures)),
        layers=reports,
        evidence=tuple(seen),
        warnings=told + device_notes(pair, batch),
        made_by={"command": "diff", "samples": len(batch), "versions": versions()},
        artifacts={**pair.artifacts, "data": batch.source},
    )
