"""Channels first beside channels last, on inputs and outputs: found by the data, told, and seen through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from quantdiff.api.engines import Opened, OpenedPair, trace_first
from quantdiff.errors import RuntimeFailed
from quantdiff.load.data import AXES, Batch, Order, bind, channels_first, channels_last, order_name, turns
from quantdiff.progress import silent
from quantdiff.quant import Array
from quantdiff.references.layout import TurnedReference, turned
from quantdiff.references.reference import Reference
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.trace import Trace, Value

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
