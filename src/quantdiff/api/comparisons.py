"""Two models on the same data: what ``diff`` gives; which array is for which input, in which order of axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np

from quantdiff.api.engines import (
    DEFAULTS,
    Opened,
    OpenedPair,
    Settings,
    Source,
    device_notes,
    open_pair,
    trace_everywhere,
    trace_first,
)
from quantdiff.compare.evidence import evidence_of
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.outcome import Outcome, hold_together
from quantdiff.errors import BadData, QuantdiffError, RuntimeFailed
from quantdiff.load.data import (
    AXES,
    Batch,
    Order,
    UnknownInputs,
    bind,
    bound_names,
    channels_first,
    channels_last,
    order_name,
    turn_into,
    turned,
    turns,
    wanted_names,
)
from quantdiff.quant import Array, Trace, Value
from quantdiff.references.reference import Reference, TurnedReference
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.data_in_parts import InParts
from quantdiff.run.inputs import data_warnings, load_data
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
    runs it. The formulas of all figures are those of ``quantdiff.compare.comparison``.

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


OTHER = {"NCHW": "NHWC", "NHWC": "NCHW"}


Layouts = tuple[tuple[str, str], ...]
"""``reference`` or ``candidate``, and ``NCHW`` or ``NHWC``."""


CLEARLY = 2.0
"""Times nearer are the outputs where it was the other order."""


PROBED = 8
"""Samples on which outputs are looked at."""


def laid_out(pair: OpenedPair, batch: Batch, layouts: Layouts = ()) -> OpenedPair:
    """The pair with its reference in the candidate's order of axes; the same pair where they have one order.

    The data are in the reference's order where sizes leave a choice: then the candidate's inputs are turned as
    ``layouts`` say, else as its outputs are nearer.

    Raises:
        BadData: the data do not fit a model's inputs.
    """
    pair = _with_cubes_turned(pair, batch, dict(layouts))
    reference, candidate = pair.reference.engines[0], pair.candidate.engines[0]
    at_inputs = dict(_inputs(reference, candidate, batch))
    at_outputs = dict(_outputs(pair, batch.part(slice(PROBED)))) if _has_images(pair.candidate) else {}
    if not at_inputs and not at_outputs:
        return pair
    notes = [f"input {reference.inputs[k].name}: {order_name(order)}" for k, order in at_inputs.items()]
    notes += [f"output {reference.outputs[k]}: {order_name(order)}" for k, order in at_outputs.items()]
    engines = tuple(
        TurnedReference(engine, at_inputs, at_outputs, (*engine.notes, *notes)) for engine in pair.reference.engines
    )
    return replace(pair, reference=Opened(pair.reference.source, engines))


def _with_cubes_turned(pair: OpenedPair, batch: Batch, layouts: Mapping[str, str]) -> OpenedPair:
    """Images of as many channels as rows and columns, which fit in any order."""
    file, candidate = pair.candidate.file, pair.candidate.engines[0]
    if file is None:
        return pair
    arrays = bind(batch, candidate.inputs, candidate.name)
    cubes = [k for k, array in enumerate(arrays) if turns(array.shape[1:], array.shape[1:])]
    if not cubes:
        return pair
    ours = layouts.get("reference") or OTHER.get(layouts.get("candidate", ""), "")
    theirs = layouts.get("candidate") or OTHER.get(ours, "")
    if ours:
        turn = {("NCHW", "NHWC"): channels_last, ("NHWC", "NCHW"): channels_first}.get((ours, theirs))
        return pair if turn is None else _turned_candidate(pair, {k: turn(arrays[k].ndim - 1) for k in cubes})
    few = batch.part(slice(PROBED))
    orders = [{k: turn(arrays[k].ndim - 1) for k in cubes} for turn in (channels_last, channels_first)]
    tried = [pair, *(_turned_candidate(pair, order) for order in orders)]
    try:
        _, wanted, _ = trace_first(pair.reference, few, silent)
        far = [apart(wanted, trace_first(each.candidate, few, silent)[1]) for each in tried]
    except RuntimeFailed:  # whoever asked runs them too, and says it
        return pair
    best = min(range(len(tried)), key=lambda k: far[k])
    return tried[best] if far[best] * CLEARLY <= far[0] else pair


def _turned_candidate(pair: OpenedPair, orders: Mapping[int, Order]) -> OpenedPair:
    """The candidate with some of its inputs taking the data in another order of axes."""
    file = pair.candidate.file
    assert file is not None
    model = replace(file, turned=tuple(orders.get(k, ()) for k in range(len(file.main.inputs))))
    engines = tuple(replace(each, model=model) for each in pair.candidate.engines if isinstance(each, TfliteReference))
    return replace(pair, candidate=Opened(pair.candidate.source, engines))


def apart(ours: Trace, theirs: Trace) -> float:
    """How far outputs are apart in the order of axes in which they are nearest."""
    pairs = zip(ours.outputs, theirs.outputs, strict=False)
    return sum(min((far for _, far in _nearest(a, b)), default=0.0) for a, b in pairs)


def _inputs(reference: Reference, candidate: Reference, batch: Batch) -> Iterator[tuple[int, Order]]:
    """By place of the reference's input how it is turned; both are views of the same data."""
    ours, theirs = (bind(batch, engine.inputs, engine.name) for engine in (reference, candidate))
    for k, array in enumerate(ours):
        for other in theirs:
            same = array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
            if same and array.strides != other.strides:
                turns_ = (turn(array.ndim - 1) for turn in (channels_last, channels_first))
                order = next((each for each in turns_ if _is_turned(array, other, each)), None)
                yield from [] if order is None else [(k, order)]


def _is_turned(array: Array, other: Array, order: Order) -> bool:
    """Whether a view is another one with its axes in this order."""
    if array.ndim != len(order) + 1:
        return False
    view = turned(array, order)
    return view.shape == other.shape and view.strides == other.strides


def _has_images(candidate: Opened) -> bool:
    """Whether an output may have channels: only these are worth a run."""
    graph = None if candidate.file is None else candidate.file.main
    return graph is not None and any(_is_image(graph.tensors[i].shape) for i in graph.outputs)


def _is_image(shape: tuple[int, ...]) -> bool:
    return sum(n != 1 for n in shape[1:]) in AXES


def _outputs(pair: OpenedPair, batch: Batch) -> Iterator[tuple[int, Order]]:
    """By place of the reference's output how it is turned: by shape, and by values where several orders fit."""
    try:
        (_, ours, _), (_, theirs, _) = (trace_first(each, batch, silent) for each in (pair.reference, pair.candidate))
    except RuntimeFailed:  # whoever asked runs them too, and says it
        return
    for k, value in enumerate(ours.outputs):
        found = [order for other in theirs.outputs for order in _nearest(value, other)]
        if found:
            best = min(found, key=lambda each: each[1])[0]
            if best:
                yield k, best


def _nearest(value: Value, other: Value) -> list[tuple[Order, float]]:
    """The orders in which one output has the shape of another, and how far their values are apart."""
    shape, wanted = value.array.shape[1:], other.array.shape[1:]
    orders: list[Order] = [*([()] if shape == wanted else []), *turns(shape, wanted)]
    return [(order, _distance(turned(value.real, order), other.real)) for order in orders]


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(np.float64) - b).mean())


MOST = 4
"""Inputs whose orders are all tried."""


NEAR = 0.2
"""Of the largest output: so far apart are two models at most whose inputs are the same."""


@dataclass(frozen=True, slots=True)
class Names:
    """Under which other names data are known too: other name → name in the data; and how a reader is told."""

    others: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()

    def of(self, batch: Batch) -> Batch:
        """The data under all names; samples are not copied."""
        return replace(batch, arrays={**batch.arrays, **{other: batch.arrays[name] for other, name in self.others}})


ITS_OWN = Names()
"""Both models know the data under the names that they have."""


def check_inputs(pair: OpenedPair, batch: Batch) -> tuple[Names, tuple[str, ...]]:
    """The names by which both models know the data, before anything runs, and what a reader must know of them.

    Raises:
        BadData: the names fit no input, and what the models compute does not tell; or shapes do not fit.
    """
    known, unknown = list[Opened](), list[Opened]()
    for each in (pair.reference, pair.candidate):
        engine = each.engines[0]
        try:
            bind(batch, engine.inputs, engine.name)
            known.append(each)
        except UnknownInputs as error:
            if len(batch.arrays) < len(engine.inputs):
                raise
            unknown.append(each)
            failed = error
    names = ITS_OWN
    if unknown:
        named = _named(known[0], unknown[0], batch) if known else None
        if named is None:
            wanted = "; ".join(
                f"{each.engines[0].name} takes {wanted_names(each.engines[0].inputs)}"
                for each in (pair.reference, pair.candidate)
            )
            arrays = ", ".join(batch.arrays)
            raise BadData(
                f"{batch.source}: arrays {arrays} do not say which input each of them is: {wanted}"
            ) from failed
        names = named
    names = replace(names, told=(*names.told, *_turned(pair.reference, names.of(batch))))
    file = pair.candidate.file
    return names, names.told if file is None else (*names.told, *data_warnings(file, names.of(batch)))


def _turned(opened: Opened, batch: Batch) -> Iterator[str]:
    """A word for each array that is another way round than the model takes it."""
    engine = opened.engines[0]
    for name, slot in zip(bound_names(batch, engine.inputs, engine.name), engine.inputs, strict=True):
        if order := turn_into(batch.arrays[name], slot):
            shape, wanted = batch.arrays[name].shape[1:], [batch.arrays[name].shape[1 + axis] for axis in order]
            yield (
                f"the data of {name!r} are {shape} a sample, {engine.name} takes {(*wanted,)}: "
                f"they are read as {order_name(order)}"
            )


def _named(known: Opened, other: Opened, batch: Batch) -> Names | None:
    """The other model's names too, in the order in which its outputs are those of the known one."""
    ours, theirs = known.engines[0].inputs, other.engines[0].inputs
    if not 1 < len(ours) == len(theirs) <= MOST:
        return None
    names, few = bound_names(batch, ours, known.engines[0].name), batch.part(slice(PROBED))
    arrays = [few.arrays[name] for name in names]
    far = dict[tuple[int, ...], float]()
    try:
        _, wanted, _ = trace_first(known, few, silent)
        for order in permutations(range(len(ours))):
            tried = Batch({theirs[k].name: arrays[at] for k, at in enumerate(order)}, None, batch.source)
            try:
                far[order] = apart(wanted, trace_first(other, tried, silent)[1])
            except BadData:  # a shape that does not fit
                continue
    except QuantdiffError:  # whoever asked runs them too, and says it
        return None
    if not far:
        return None
    best, first = min(far, key=lambda order: far[order]), tuple(range(len(ours)))
    if first in far and far[first] <= CLEARLY * far[best]:
        best = first
    rivals = [distance for order, distance in far.items() if order != best]
    largest = sum(float(np.abs(value.real).max(initial=0.0)) for value in wanted.outputs)
    if far[best] > NEAR * largest or (best != first and min(rivals, default=np.inf) < CLEARLY * far[best]):
        return None
    others = tuple((theirs[k].name, names[at]) for k, at in enumerate(best))
    note = ", ".join(f"{ours[at].name} is {theirs[k].name}" for k, at in enumerate(best))
    return Names(others, (f"by what both models compute, input {note}",))
