"""Both models side by side, and what the file says of one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.align.alignment import Alignment, TensorPair
from quantdiff.graph import Graph, Tensor, real_values
from quantdiff.nudge import Nudged
from quantdiff.ops import Layer, TrainedRange
from quantdiff.parameters.inspection import is_symmetric_weight
from quantdiff.parameters.quantizers import Observed, Range, Row, range_of
from quantdiff.quant import INTEGER_RANGE, real_range

BIAS_DTYPES = ("int32", "int64")


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Both models, how they belong together, and what the data showed."""

    layers: Sequence[Layer]
    graph: Graph
    alignment: Alignment
    observed: Observed

    @property
    def lost(self) -> tuple[tuple[str, str], ...]:
        """What of the layers has no tensor in the file: (layer, role)."""
        pairs = self.alignment.pairs
        found = {(pair.layer, pair.role) for pair in pairs} | {(name, "output") for p in pairs for name in p.fused[:-1]}
        places = self.alignment.reference.by_key()
        inside = (places[key].path for match in self.alignment.matches for key in match.reference_inside)
        found |= {(name, "output") for name in inside}
        return tuple(place for layer in self.layers for place in _places(layer) if place not in found)

    @property
    def lone(self) -> tuple[Tensor, ...]:
        """The quantized tensors of the file that no layer claims."""
        taken = {pair.tensor for pair in self.alignment.pairs}
        used = {*self.graph.inputs, *(i for op in self.graph.operators for i in (*op.inputs, *op.outputs))}
        free = used - taken
        return tuple(t for t in self.graph.tensors if t.index in free and t.quant is not None)

    def chain(self, layer: Layer, pair: TensorPair | None) -> tuple[Layer, ...]:
        """The layers that the pair's operator computes together; without a pair the layer alone."""
        names = () if pair is None else pair.fused
        return tuple(each for each in self.layers if each.name in names) or (layer,)


def _places(layer: Layer) -> Iterator[tuple[str, str]]:
    if layer.kernel is not None:
        yield layer.name, "kernel"
    if layer.bias is not None:
        yield layer.name, "bias"
    if layer.kind != "InputLayer":
        yield layer.name, "output"


def with_file(row: Row, sides: ModelPair, tensor: Tensor) -> Row:
    """The row with all that the file says of ``tensor``, and what was observed of it."""
    row = replace(row, tensor=tensor.name)
    if tensor.stored_min and tensor.stored_max:
        row = replace(row, stored=Range(tensor.stored_min, tensor.stored_max))
    if (seen := sides.observed.tensors.get(tensor.index)) is not None:
        row = replace(row, tflite=seen.ends)
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return row
    if is_bias(tensor):  # what an int32 could hold says nothing about a bias: its values do
        values = range_of(real_values(tensor))
        return replace(row, file=Range(values.low, values.high, tensor.quant.scale, tensor.quant.zero_point))
    if tensor.is_constant and tensor.data is not None and tensor.data.shape == tensor.shape:
        row = replace(row, tflite=range_of(real_values(tensor), tensor.quant.axis))
    ends = real_range(tensor.quant, tensor.dtype, narrow=is_symmetric_weight(tensor))
    return replace(row, file=Range(*ends, tensor.quant.scale, tensor.quant.zero_point))


def is_bias(tensor: Tensor) -> bool:
    """True for constants of the accumulator's types."""
    return tensor.is_constant and tensor.dtype in BIAS_DTYPES


def of_own_grid(trained: TrainedRange) -> Range | None:
    """What a quantizer itself says that it made of its range; None for one whose range says all."""
    if trained.grid is None:
        return None
    params = trained.grid.params
    ends = real_range(params, trained.grid.dtype, narrow=trained.narrow)
    return Range(*ends, params.scale, params.zero_point)


def as_ends(nudged: Nudged) -> Range:
    """A rule's arrays as tuples."""
    low, high, scale, zero_point = (np.ravel(x).tolist() for x in nudged)
    return Range(tuple(low), tuple(high), tuple(scale), tuple(zero_point))
