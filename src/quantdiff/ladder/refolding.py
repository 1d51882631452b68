"""What stands behind a product, channel by channel, as a part of its kernel and its bias, as converters fold it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from quantdiff.graph import Operator, Tensor
from quantdiff.ladder.matching import ACTIVATION
from quantdiff.ladder.real_graph import RealGraph, in_loops
from quantdiff.ops import traits
from quantdiff.quant import Array

FOLDS = {"MUL": np.multiply, "DIV": np.divide, "ADD": np.add, "SUB": np.subtract}


SCALES, TURN = ("MUL", "DIV"), ("SUB", "DIV")


PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


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
