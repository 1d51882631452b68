"""Min, max, scale and zero point of every quantizer: in the QAT variables, nudged, in the file, as observed.

Both models are watched on the data, and each linear layer is computed by hand beside them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from quantdiff.align.constants import fused_chain
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.load.data import Batch
from quantdiff.nudge import nudge_calibrated, nudge_converter, nudge_fake_quant
from quantdiff.ops import KERNEL_RANGES, OUTPUT_RANGES, Layer, TrainedRange
from quantdiff.parameters.constants import Linear, bias_row, by_hand, kernel_row, linear
from quantdiff.parameters.quantizers import (
    LOST,
    Extent,
    ModelPair,
    Observed,
    Parameters,
    Range,
    Reason,
    Row,
    as_ends,
    is_bias,
    of_own_grid,
    range_reasons,
    with_file,
)
from quantdiff.quant import INTEGER_RANGE, Array, dequantize
from quantdiff.recording import BoundModel, value_at
from quantdiff.references.tflite.reference import ran_alone
from quantdiff.run.inner_tensors import disturbed, read_tensors
from quantdiff.run.runner import Runner

BEFORE = "pre_activation"
CUT, CUT_AT_LEAST, CUT_SHARE = 0.1, 3, 0.25
"""Of an extent, so that it is more than rounding; tensors, and of all tensors, so that it is no chance."""


def parameters(sides: ModelPair) -> Parameters:
    """A row for every quantizer of either side, the layers in their order, and by name what found no partner."""
    lone = sides.lone
    lost = tuple(f"{layer}/{role}" for layer, role in sides.lost)
    rows = [row for layer in sides.layers for each in (layer, *_inner(sides, layer)) for row in _rows(sides, each)]
    rows += [_lone(sides, tensor) for tensor in lone]
    names = tuple(tensor.name for tensor in lone) if sides.layers else ()
    notes = (*sides.observed.notes, *disturbed(sides.observed.changed), *_narrow(rows))
    return Parameters(tuple(rows), lost, names, sides.observed.engines, notes)


def _inner(sides: ModelPair, layer: Layer) -> Iterator[Layer]:
    """Those of the sums inside a layer that the file has: it has an LSTM's gates one by one or all in one."""
    return (each for each in layer.inner if sides.alignment.find(each.name, "kernel"))


def _narrow(rows: Sequence[Row]) -> Iterator[str]:
    """Ranges that end well inside of what the reference gives on the data, at many tensors: what averaging leaves."""
    calibrated = [row for row in rows if row.role == "output" and row.direct is None and row.file and row.keras]
    cut = [row for row in calibrated if _share_cut(row) > CUT]
    if len(cut) >= max(CUT_AT_LEAST, len(calibrated) * CUT_SHARE):
        yield (
            f"the file's ranges end well inside of what the data give at {len(cut)} of {len(calibrated)} tensors "
            f"({cut[0].layer}, …): calibrated on too few data, or by a moving average (litert-quantizer's default; "
            "its min_max_update keeps the ends)"
        )


def _share_cut(row: Row) -> float:
    """The share of the reference's extent on the data that lies beyond the file's ends."""
    assert row.file is not None
    assert row.keras is not None
    (low,), (high,), (first,), (last,) = row.keras.low, row.keras.high, row.file.low, row.file.high
    return (max(first - low, 0.0) + max(high - last, 0.0)) / (high - low) if high > low else 0.0


def _rows(sides: ModelPair, layer: Layer) -> Iterator[Row]:
    find = sides.alignment.find
    if layer.range_of(*KERNEL_RANGES) or find(layer.name, "kernel"):
        yield kernel_row(sides, layer)
    if layer.bias is not None or find(layer.name, "bias"):
        yield bias_row(sides, layer)
    before = layer.range_of(BEFORE)
    if before is not None or find(layer.name, BEFORE):
        yield _output_row(sides, layer, BEFORE, before)
    after = next((r for r in layer.ranges if r.name in OUTPUT_RANGES), None)
    if after is not None or find(layer.name, "output"):
        yield _output_row(sides, layer, "output", after)


def _output_row(sides: ModelPair, layer: Layer, role: str, trained: TrainedRange | None) -> Row:
    pair = sides.alignment.find(layer.name, role)
    row = Row(layer.name, trained.name if trained else role, "output")
    tensor = None if pair is None else sides.graph.tensors[pair.tensor]
    if tensor is not None:
        row = with_file(row, sides, tensor)
    if role == "output":
        extents = sides.observed.layers.get(layer.name), sides.observed.by_hand.get(layer.name)
        keras, by_hand = (None if extent is None else extent.ends for extent in extents)
        row = replace(row, keras=keras, by_hand=by_hand)
    if trained is None:
        return replace(row, reasons=(_without_range(sides.graph, tensor),))
    row = _with_trained(row, trained)
    activation = "relu" if layer.op == "RELU" else layer.activation if role == "output" else "linear"
    shared = None if tensor is None else _shares_scale(sides.graph, tensor)
    return replace(row, reasons=tuple(range_reasons(row, trained, activation, shared)))


def _with_trained(row: Row, trained: TrainedRange) -> Row:
    """The variables, and what the rules make of them: of the converter's two the one that the file follows."""
    if (own := of_own_grid(trained)) is not None:
        return replace(row, direct=Range(trained.low, trained.high), nudged=own, converter=own)
    low, high = np.array(trained.low), np.array(trained.high)
    nudged = nudge_fake_quant(low, high, bits=trained.bits, narrow=trained.narrow)
    stored = as_ends(nudge_converter(low, high, bits=trained.bits, narrow=trained.narrow))
    if row.file is not None and row.file.zero_point != stored.zero_point:
        calibrated = as_ends(nudge_calibrated(low, high))
        stored = calibrated if row.file.zero_point == calibrated.zero_point else stored
    return replace(row, direct=Range(trained.low, trained.high), nudged=as_ends(nudged), converter=stored)


def _without_range(graph: Graph, tensor: Tensor | None) -> Reason:
    """For a layer without a quantizer of its own: where the file's range comes from."""
    if tensor is None:
        return LOST
    if tensor.quant is None:
        return Reason("no counterpart", "no quantizer on either side")
    maker = graph.producer(tensor.index)
    if maker and any(graph.tensors[i].quant == tensor.quant for i in maker.inputs if i >= 0):
        return Reason("no counterpart", "no quantizer in the reference: the range of its input")
    return Reason("no counterpart", "no quantizer in the reference: the converter's choice")


def _shares_scale(graph: Graph, tensor: Tensor) -> str | None:
    """The operator that forces its own scale on its input, such as CONCATENATION, if there is one."""
    readers = graph.readers(tensor.index)
    return next((op.op for op in readers if any(graph.tensors[i].quant == tensor.quant for i in op.outputs)), None)


def _lone(sides: ModelPair, tensor: Tensor) -> Row:
    """A tensor that no layer claims, under its own name."""
    role = "bias" if is_bias(tensor) else "kernel" if tensor.is_constant else "output"
    quantizer = "input" if tensor.index in sides.graph.inputs else role
    reasons = (Reason("no counterpart", "no counterpart in the reference"),) if sides.layers else ()
    return replace(with_file(Row(tensor.name, quantizer, role), sides, tensor), reasons=reasons)


SAMPLES_AT_ONCE = 256
"""In a part, where no reference says how many fit into memory."""


def observe(pair: ModelPair, reference: BoundModel | None, model: Model, batch: Batch, process: Runner) -> Observed:
    """Run both models on the data, or the ``.tflite`` alone.

    Raises:
        BadData: the data do not fit a model's inputs.
        RuntimeFailed: a model does not run.
    """
    first = Observed() if reference is None else observe_reference(pair, reference)
    return first + observe_tflite(model, batch, process)


def observe_reference(pair: ModelPair, reference: BoundModel) -> Observed:
    """Extents of every layer's output and, before any output quantizer, of every chain computed by hand."""
    seen: dict[str, Extent] = defaultdict(Extent)
    by_chain: dict[str, Extent] = defaultdict(Extent)
    known = dict(_linear(pair))
    flow, size = pair.alignment.reference, pair.alignment.at_once
    for start in range(0, len(reference), size):
        recording = reference.run(start, min(start + size, len(reference)))
        for place in recording.flow.places:
            if place.name == place.path and place.op != "input":
                seen[place.path].add(value_at(recording, place).real)
            for end, spec in known.get(place.name, ()):
                if place.op == spec.op and sum(layer.kernel is not None for layer in place.layers) == 1:
                    by_chain[end].add(by_hand(spec, recording.value(place.feeds[0])))
    return Observed(layers=seen, by_hand=by_chain, engines=(flow.engine,))


def _linear(pair: ModelPair) -> Iterator[tuple[str, list[tuple[str, Linear]]]]:
    """The value that a linear layer gives → the end of its chain, and the chain as one layer."""
    for layer in pair.layers:
        chain = fused_chain(pair.layers, layer)
        spec = linear(chain) if layer.kernel is not None else None
        if spec is not None:
            yield layer.name, [(chain[-1].name, spec)]


def observe_tflite(model: Model, batch: Batch, process: Runner) -> Observed:
    """Extents, in real units, of every quantized tensor that is no constant; and notes on the runs."""
    graph = model.main
    used = dict.fromkeys(i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0)
    wanted = [i for i in used if graph.tensors[i].quant is not None and graph.tensors[i].data is None]
    seen: dict[int, Extent] = defaultdict(Extent)
    changed, batched = 0, True
    for reading in read_tensors(model, wanted, batch, process, alone=False):
        changed, batched = changed + reading.changed, batched and reading.batched
        for index in wanted:
            array, quant = reading.values[index], graph.tensors[index].quant
            assert quant is not None
            seen[index].add(dequantize(_ends(array), quant) if array.dtype.name in INTEGER_RANGE else array)
    alone = ran_alone(process.runtime, batched, len(batch))
    return Observed(tensors=seen, engines=(f"tflite:{process.runtime}",), notes=alone, changed=changed)


def _ends(array: Array) -> Array:
    """The smallest and the largest integer: their real values are the extent."""
    return array.ravel()[[array.argmin(), array.argmax()]]
