"""Channels first beside channels last, on inputs and outputs: found by the data, told, and seen through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from quantdiff.api.engines import Opened, OpenedPair
from quantdiff.load.data import FIRST, LAST, Batch, Order, bind, turns
from quantdiff.quant import Array
from quantdiff.references.layout import TurnedReference, turned
from quantdiff.references.reference import Reference
from quantdiff.trace import Value

NAMES: dict[Order, str] = {LAST: "NCHW → NHWC", FIRST: "NHWC → NCHW"}
PROBED = 8
"""Samples on which outputs are looked at."""


def laid_out(pair: OpenedPair, batch: Batch) -> OpenedPair:
    """The pair with its reference in the candidate's order of axes; the same pair where they have one order.

    Raises:
        BadData: the data do not fit a model's inputs.
        RuntimeFailed: a model does not run.
    """
    reference, candidate = pair.reference.engines[0], pair.candidate.engines[0]
    at_inputs = dict(_inputs(reference, candidate, batch))
    at_outputs = dict(_outputs(pair, batch.part(slice(PROBED)))) if _has_images(pair.candidate) else {}
    if not at_inputs and not at_outputs:
        return pair
    notes = [f"input {reference.inputs[k].name}: {NAMES[order]}" for k, order in at_inputs.items()]
    notes += [f"output {reference.outputs[k]}: {NAMES[order]}" for k, order in at_outputs.items()]
    engines = tuple(
        TurnedReference(engine, at_inputs, at_outputs, (*engine.notes, *notes)) for engine in pair.reference.engines
    )
    return replace(pair, reference=Opened(pair.reference.source, engines))


def _inputs(reference: Reference, candidate: Reference, batch: Batch) -> Iterator[tuple[int, Order]]:
    """By place of the reference's input how it is turned; both are views of the same data."""
    ours, theirs = (bind(batch, engine.inputs, engine.name) for engine in (reference, candidate))
    for k, array in enumerate(ours):
        for other in theirs:
            same = array.__array_interface__["data"][0] == other.__array_interface__["data"][0]
            if same and array.shape != other.shape:
                yield from ((k, order) for order in turns(array.shape[1:], other.shape[1:])[:1])


def _has_images(candidate: Opened) -> bool:
    """Whether an output may have channels: only these are worth a run."""
    graph = None if candidate.file is None else candidate.file.main
    return graph is not None and any(_is_image(graph.tensors[i].shape) for i in graph.outputs)


def _is_image(shape: tuple[int, ...]) -> bool:
    return sum(n != 1 for n in shape[1:]) == len(LAST)


def _outputs(pair: OpenedPair, batch: Batch) -> Iterator[tuple[int, Order]]:
    """By place of the reference's output how it is turned: by shape, and by values where several orders fit."""
    ours, theirs = (each.engines[0].trace(batch) for each in (pair.reference, pair.candidate))
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
