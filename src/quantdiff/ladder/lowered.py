"""A reference as a float graph of TFLite operators; where it rounds itself, QUANTIZE and DEQUANTIZE say how.

And what belongs to its operators in the file's words: what stands behind a product, channel by channel, as a part of
its kernel and its bias, as converters fold it; and activations that a grid performs: no RELU6, but integers that end at
0 and 6, as older converters write it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.graph import Operator, Tensor
from quantdiff.ladder.real_graph import Grid, RealGraph
from quantdiff.ladder.streams import in_loops
from quantdiff.ops import CLAMPS, INTO_FLOAT, INTO_INTEGERS, traits
from quantdiff.quant import Array
from quantdiff.sim.node import ACTIVATION_RANGE

RECODES = (INTO_INTEGERS, INTO_FLOAT)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph whose QUANTIZE and DEQUANTIZE are seen through.

    ``source``: by the output of such an operator the tensor that it restates. ``grids``: by tensor the grid that the
    reference puts it on.
    """

    real: RealGraph
    source: Mapping[int, int]
    grids: Mapping[int, Grid]

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those that compute something."""
        return tuple(op for op in self.real.operators if op.op not in RECODES)

    def of(self, tensor: int) -> int:
        """The tensor before all restating."""
        while tensor in self.source:
            tensor = self.source[tensor]
        return tensor

    def clamp_behind(self, tensor: int, activation: str) -> int | None:
        """The output of the activation that alone reads a tensor: what a converter may fuse; None for others."""
        names = {tensor, *(i for i in self.source if self.of(i) == tensor)}
        readers = [op for i in names for op in self.real.graph.readers(i) if op.op not in RECODES]
        fits = len(readers) == 1 and readers[0].op in CLAMPS and readers[0].op == activation
        return readers[0].outputs[0] if fits else None


def lowered(real: RealGraph) -> Lowered:
    """See through the operators that only restate; a graph of integers has a grid at every tensor."""
    source = {op.outputs[0]: op.inputs[0] for op in real.operators if op.op in RECODES}
    found = Lowered(real, source, {})
    grids: dict[int, Grid] = {}
    for tensor, grid in real.grids.items():
        if tensor not in real.copies:
            grids.setdefault(found.of(tensor), grid)
    return Lowered(real, source, grids)


FOLDS = {"MUL": np.multiply, "DIV": np.divide, "ADD": np.add, "SUB": np.subtract}


SCALES, TURN = ("MUL", "DIV"), ("SUB", "DIV")


PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


ACTIVATION = "fused_activation_function"


def folded(real: RealGraph, alone: AbstractSet[int]) -> RealGraph:
    """The graph without those of the ``alone`` operators that scale or shift the channels of a product.

    Shapes: a kernel as TFLite stores it, a bias of one value for each channel.
    """
    for each in real.operators:
        product = each
        while product.op in PRODUCTS and (behind := _behind(real, product, alone)) is not None:
            real, product = _joined(real, product, *behind)
    return real


def _behind(real: RealGraph, product: Operator, alone: AbstractSet[int]) -> tuple[Operator, Array] | None:
    """The operator that alone reads a product, and its constant: one value for each channel."""
    (output,), graph, known = product.outputs, real.graph, traits(product.op)
    kernel = real.constants.get(product.inputs[known.weights or 0])
    readers = graph.readers(output)
    seen = output in {*graph.outputs, *real.grids} or product.options.get(ACTIVATION, "NONE") != "NONE"
    if kernel is None or seen or len(readers) != 1 or readers[0].op not in FOLDS or readers[0].index not in alone:
        return None
    first, second = readers[0].inputs
    other = second if first == output else first
    value, channels = real.constants.get(other), kernel.shape[known.channel_axis]
    turned = first != output and readers[0].op in TURN  # constant − product is another function
    if value is None or turned or value.size not in (1, channels) or value.shape[-1:] not in ((), (1,), (channels,)):
        return None
    return readers[0], np.broadcast_to(value.reshape(-1), channels)


def _joined(real: RealGraph, product: Operator, reader: Operator, value: Array) -> tuple[RealGraph, Operator]:
    """The graph with the reader's arithmetic in the product's constants."""
    known, compute = traits(product.op), FOLDS[reader.op]
    weights, bias = known.weights or 0, known.bias or 0
    inputs = [*product.inputs, *[-1] * (bias + 1 - len(product.inputs))]
    kernel = real.constants[inputs[weights]]
    along = [1] * kernel.ndim
    along[known.channel_axis] = -1
    changed = {bias: compute(real.constants[inputs[bias]] if inputs[bias] >= 0 else np.zeros(value.size), value)}
    if reader.op in SCALES:
        changed[weights] = compute(kernel, value.reshape(along))
    tensors, constants = list(real.graph.tensors), dict(real.constants)
    for place, made in changed.items():
        name = tensors[inputs[place] if inputs[place] >= 0 else product.outputs[0]].name
        inputs[place] = len(tensors)
        constants[len(tensors)] = made
        tensors.append(Tensor(len(tensors), name, made.shape, "float32", data=made))
    options = {**product.options, ACTIVATION: reader.options.get(ACTIVATION, "NONE")}
    joined = replace(product, inputs=tuple(inputs), outputs=reader.outputs, options=options)
    others = (op for op in real.graph.operators if op.index != reader.index)
    operators = tuple(joined if op.index == product.index else op for op in others)
    graph = replace(real.graph, tensors=tuple(tensors), operators=operators)
    return replace(real, graph=graph, constants=constants, loops=in_loops(graph, real.folded)), joined


NONE = "NONE"


def with_clamps(file: RealGraph, reference: Lowered, pairs: Sequence[tuple[Operator, Operator]]) -> RealGraph:
    """The file's graph with the activations of the reference that its own grids perform: no integer is another one."""
    taken = {theirs.index for _, theirs in pairs}
    found = {ours.index: _performed(file, reference, ours, theirs, taken) for ours, theirs in pairs}
    if not any(found.values()):
        return file
    operators = tuple(
        replace(op, options={**op.options, ACTIVATION: found[op.index]}) if found.get(op.index) else op
        for op in file.graph.operators
    )
    graph = replace(file.graph, operators=operators)
    return replace(file, graph=graph, loops=in_loops(graph, file.folded))


def _performed(
    file: RealGraph, reference: Lowered, ours: Operator, theirs: Operator, taken: Container[int]
) -> str | None:
    """The activation that the reference has, fused or alone behind, and the file's operator only in its grid."""
    grid = file.grids.get(ours.outputs[0]) if len(ours.outputs) == 1 else None
    if grid is None or not traits(ours.op).fuses or ours.options.get(ACTIVATION, NONE) != NONE:
        return None
    own = str(theirs.options.get(ACTIVATION, NONE))
    if own == NONE:
        own = next((name for name in CLAMPS if _stands_behind(reference, theirs, name, taken)), NONE)
    return own if own in CLAMPS and performs(grid, own) else None


def _stands_behind(reference: Lowered, theirs: Operator, activation: str, taken: Container[int]) -> bool:
    behind = reference.clamp_behind(theirs.outputs[0], activation)
    maker = None if behind is None else reference.real.graph.producer(behind)
    return maker is not None and maker.index not in taken


def performs(grid: Grid, activation: str) -> bool:
    """Whether an activation in front of a grid changes none of its integers: its ends are at the grid's, or beyond."""
    low, high = (grid.steps(np.asarray(end)) + grid.zero_point for end in ACTIVATION_RANGE[activation])
    return bool(low <= grid.low and high >= grid.high)
