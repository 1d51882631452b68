"""Min, max, scale and zero point of every quantizer: in the QAT variables, nudged, in the file, as observed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.align.alignment import Alignment, Pair
from quantdiff.align.chains import fused_chain
from quantdiff.align.weights import real_values
from quantdiff.explain.folding import factor, folded_bias, quantized_kernel
from quantdiff.explain.inspection import is_symmetric_weight
from quantdiff.explain.quantizers import Ends, Observed, Parameters, Reason, Row, ends_of
from quantdiff.explain.reasons import bias_reason, range_reasons
from quantdiff.graph import Graph, Tensor
from quantdiff.load.layers import KERNEL_RANGES, OUTPUT_RANGES, Layer, TrainedRange
from quantdiff.nudge import Nudged, nudge_converter, nudge_fake_quant
from quantdiff.quant import INTEGER_RANGE, Array, real_range

RANGES = {"kernel": KERNEL_RANGES, "bias": (), "output": OUTPUT_RANGES}


@dataclass(frozen=True, slots=True)
class Sides:
    """Both models, how they belong together, and what the data showed."""

    layers: Sequence[Layer]
    graph: Graph
    alignment: Alignment
    observed: Observed


def parameter_rows(sides: Sides) -> tuple[Row, ...]:
    """A row for every quantizer of either side: the layers in their order, then what only the file has."""
    rows = [_row(sides, layer, role) for layer in sides.layers for role in _roles(sides, layer)]
    lone = [sides.graph.tensors[index] for index in sides.alignment.only_tflite]
    reason = Reason("no counterpart", "no counterpart in the reference") if sides.layers else Reason("", "")
    alone = (replace(_file_side(Row(t.name, *_role(sides.graph, t)), sides, t), reasons=(reason,)) for t in lone)
    return (*rows, *alone)


def parameters(sides: Sides) -> Parameters:
    """All rows, and by name what found no partner."""
    names = [sides.graph.tensors[index].name for index in sides.alignment.only_tflite]
    lost = tuple(f"{layer}/{role}" for layer, role in sides.alignment.only_keras)
    seen = sides.observed
    return Parameters(parameter_rows(sides), lost, tuple(names) if sides.layers else (), seen.engines, seen.notes)


def _roles(sides: Sides, layer: Layer) -> Iterator[str]:
    for role, names in RANGES.items():
        if layer.range_of(*names) or sides.alignment.find(layer.name, role):
            yield role


def _row(sides: Sides, layer: Layer, role: str) -> Row:
    pair, trained = sides.alignment.find(layer.name, role), layer.range_of(*RANGES[role])
    tensor = None if pair is None else sides.graph.tensors[pair.tensor]
    row = Row(layer.name, trained.name if trained else role, role)
    if tensor is not None:
        row = _file_side(row, sides, tensor)
    chain = fused_chain(sides.layers, layer) if pair is not None and len(pair.fused) > 1 else (layer,)
    if role == "bias":
        return _bias(row, chain, tensor)
    if role == "kernel":
        row = replace(row, keras=_kernel_ends(layer, trained))
    else:
        extents = sides.observed.layers.get(layer.name), sides.observed.by_hand.get(layer.name)
        keras, by_hand = (None if extent is None else extent.ends for extent in extents)
        row = replace(row, keras=keras, by_hand=by_hand)
    if trained is None:
        return replace(row, reasons=(_without_range(sides.graph, pair),))
    row = _trained_side(row, trained, factor(chain) if role == "kernel" else None)
    activation = "relu" if layer.kind == "ReLU" else layer.activation
    return replace(row, reasons=tuple(range_reasons(row, trained, activation)))


def _kernel_ends(layer: Layer, trained: TrainedRange | None) -> Ends:
    kernel = quantized_kernel(layer, trained)
    return ends_of(kernel, -1 if trained is not None and len(trained.low) > 1 else None)


def _trained_side(row: Row, trained: TrainedRange, scaled: Array | None) -> Row:
    """The variables, and what the two rules make of them; a kernel's with batch norm's factor folded in."""
    low, high = np.array(trained.low), np.array(trained.high)
    nudged = nudge_fake_quant(low, high, bits=trained.bits, narrow=trained.narrow)
    stored = nudge_converter(low, high, bits=trained.bits, narrow=trained.narrow)
    row = replace(row, direct=Ends(trained.low, trained.high), nudged=_as_ends(nudged))
    if scaled is not None:
        size = np.abs(scaled)
        folded = Ends(*(tuple((np.broadcast_to(end, size.shape) * size).tolist()) for end in (low, high)))
        zero_point = np.broadcast_to(stored.zero_point, size.shape)
        stored = Nudged(stored.low * size, stored.high * size, stored.scale * size, zero_point)
        row = replace(row, folded=folded)
    return replace(row, converter=_as_ends(stored))


def _file_side(row: Row, sides: Sides, tensor: Tensor) -> Row:
    row = replace(row, tensor=tensor.name)
    if tensor.stored_min and tensor.stored_max:
        row = replace(row, stored=Ends(tensor.stored_min, tensor.stored_max))
    if (seen := sides.observed.tensors.get(tensor.index)) is not None:
        row = replace(row, tflite=seen.ends)
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return row
    if tensor.is_constant:
        row = replace(row, tflite=ends_of(real_values(tensor), tensor.quant.axis))
    ends = real_range(tensor.quant, tensor.dtype, narrow=is_symmetric_weight(tensor))
    if tensor.dtype == "int32" and tensor.is_constant:  # what an int32 could hold says nothing about a bias
        values = ends_of(real_values(tensor))
        ends, row = (values.low, values.high), replace(row, tflite=None)
    return replace(row, file=Ends(*ends, tensor.quant.scale, tensor.quant.zero_point))


def _bias(row: Row, chain: Sequence[Layer], tensor: Tensor | None) -> Row:
    own, folded = chain[0].bias, folded_bias(chain)
    row = replace(row, direct=None if own is None else ends_of(own))
    is_folded = len(chain) > 1 and factor(chain) is not None
    if is_folded and folded is not None:
        row = replace(row, folded=ends_of(folded))
    if tensor is None or tensor.quant is None:
        where = "no counterpart in the file" if tensor is None else "float in the file"
        return replace(row, reasons=(Reason("no counterpart", where),))
    zeros = np.zeros(tensor.shape)
    scale = np.broadcast_to(np.asarray(tensor.quant.scale), tensor.shape)
    reason = bias_reason(zeros if folded is None else folded, real_values(tensor), scale, folded=is_folded)
    return replace(row, reasons=(reason,))


def _without_range(graph: Graph, pair: Pair | None) -> Reason:
    """For a layer without a quantizer of its own: where the file's range comes from."""
    if pair is None:
        return Reason("no counterpart", "no counterpart in the file")
    tensor = graph.tensors[pair.tensor]
    if tensor.quant is None:
        return Reason("no counterpart", "no quantizer on either side")
    inputs = () if pair.operator is None else graph.operators[pair.operator].inputs[:1]
    if any(graph.tensors[i].quant == tensor.quant for i in inputs):
        return Reason("no counterpart", "no quantizer in the reference: the range of its input")
    return Reason("no counterpart", "no quantizer in the reference: the converter's choice")


def _role(graph: Graph, tensor: Tensor) -> tuple[str, str]:
    """Quantizer and role of a tensor that no layer claims."""
    if not tensor.is_constant:
        return ("input", "output") if tensor.index in graph.inputs else ("output", "output")
    return ("bias", "bias") if tensor.dtype == "int32" else ("kernel", "kernel")


def _as_ends(nudged: Nudged) -> Ends:
    low, high, scale, zero_point = (np.ravel(x).tolist() for x in nudged)
    return Ends(tuple(low), tuple(high), tuple(scale), tuple(zero_point))
