"""Which Keras layer is which tensor of the ``.tflite``: by names, by how the graphs hang together, by values.

Never by an index. The converter keeps a tensor's history in its name, ``model/quant_re_lu/Relu;model/bn/…``: every
layer that was fused into the operator is a part of the path. Of the layers named, the last one in the Keras model
is the one whose output the tensor is. Outputs of the model lose their names; there the graph and the signature help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantdiff.align.outputs import output_pairs
from quantdiff.align.pairs import Alignment
from quantdiff.align.weights import weight_pairs
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.layer import Layer


def align(layers: Sequence[Layer], model: Model) -> Alignment:
    """Pairs of layers and tensors of the main subgraph, and the leftovers of both sides."""
    graph = model.main
    weights = tuple(weight_pairs(layers, graph))
    kernels = {p.operator: p for p in weights if p.role == "kernel" and p.operator is not None}
    outputs = tuple(output_pairs(layers, model, kernels))
    taken = {pair.tensor for pair in (*weights, *outputs)}
    inside = {(name, "output") for pair in outputs for name in pair.fused[:-1]}  # no tensor of their own
    found = {(pair.layer, pair.role) for pair in (*weights, *outputs)} | inside
    return Alignment(
        (*weights, *outputs),
        tuple(place for layer in layers for place in _places(layer) if place not in found),
        tuple(tensor.index for tensor in _used(graph) if tensor.quant is not None and tensor.index not in taken),
    )


def _places(layer: Layer) -> Iterator[tuple[str, str]]:
    if layer.kernel is not None:
        yield layer.name, "kernel"
    if layer.bias is not None:
        yield layer.name, "bias"
    if layer.kind != "InputLayer":
        yield layer.name, "output"


def _used(graph: Graph) -> Iterator[Tensor]:
    used = {*graph.inputs, *(i for op in graph.operators for i in (*op.inputs, *op.outputs))}
    return (tensor for tensor in graph.tensors if tensor.index in used)
