"""Which Keras layer is which tensor of the ``.tflite``: by names, by how the graphs hang together, by values.

Never by an index. The converter keeps a tensor's history in its name, ``model/quant_re_lu/Relu;model/bn/…``: every
layer that was fused into the operator is a part of the path. Of the layers named, the last one in the Keras model
is the one whose output the tensor is. Outputs of the model lose their names; there the graph and the signature help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from quantdiff.align.chains import by_name, fused_chain, owners
from quantdiff.align.weights import fits, same_weights
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.load.layers import Layer

WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


@dataclass(frozen=True, slots=True)
class Pair:
    """One place in the Keras model and its tensor: ``role`` is ``kernel``, ``bias`` or ``output``.

    ``fused`` are the layers that one operator computes together, the one with the kernel first;
    ``operator`` makes the tensor or takes the weights (None for an input of the model). ``found_by`` is ``name``,
    ``structure`` or ``values``; ``confirmed`` says whether the values agree, None where they were not compared.
    """

    layer: str
    role: str
    tensor: int
    operator: int | None
    found_by: str
    fused: tuple[str, ...] = ()
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """Every pair, and on each side what found no partner: (layer, role), and indices of quantized tensors."""

    pairs: tuple[Pair, ...]
    only_keras: tuple[tuple[str, str], ...]
    only_tflite: tuple[int, ...]

    def find(self, layer: str, role: str) -> Pair | None:
        """The pair of a layer's kernel, bias or output."""
        return next((pair for pair in self.pairs if (pair.layer, pair.role) == (layer, role)), None)


def align(layers: Sequence[Layer], model: Model) -> Alignment:
    """Pairs of layers and tensors of the main subgraph, and the leftovers of both sides."""
    graph = model.main
    weights = tuple(_weights(layers, graph))
    outputs = tuple(_outputs(layers, model, {p.operator: p for p in weights if p.role == "kernel"}))
    pairs = (*weights, *outputs)
    taken = {pair.tensor for pair in pairs}
    wanted = [(layer.name, role) for layer in layers for role in _roles(layer)]
    found = {(pair.layer, pair.role) for pair in pairs} | {
        (name, "output") for pair in outputs for name in pair.fused[:-1]
    }
    return Alignment(
        pairs,
        tuple(place for place in wanted if place not in found),
        tuple(tensor.index for tensor in _used(graph) if tensor.quant is not None and tensor.index not in taken),
    )


def _roles(layer: Layer) -> Iterator[str]:
    if layer.kernel is not None:
        yield "kernel"
    if layer.bias is not None:
        yield "bias"
    if layer.kind != "InputLayer":
        yield "output"


def _used(graph: Graph) -> Iterator[Tensor]:
    used = {*graph.inputs, *(i for op in graph.operators for i in (*op.inputs, *op.outputs))}
    return (tensor for tensor in graph.tensors if tensor.index in used)


def _weights(layers: Sequence[Layer], graph: Graph) -> Iterator[Pair]:
    names, free = by_name(layers), [layer for layer in layers if layer.kernel is not None]
    for op in graph.operators:
        kernel = graph.tensors[op.inputs[0 if op.op == "TRANSPOSE_CONV" else 1]] if op.op in WEIGHTED else None
        if kernel is None or kernel.data is None:
            continue
        named = [layer for layer in owners(kernel.name, names) if layer in free]
        layer, found_by = next(((each, "name") for each in named if same_weights(layers, each, kernel)), (None, ""))
        if layer is None:
            layer = next((each for each in free if same_weights(layers, each, kernel)), None)
            found_by = "values"
        if layer is None:
            if len(named) != 1 or not fits(named[0], kernel):
                continue
            layer, found_by = named[0], "name"
        free.remove(layer)
        fused = tuple(each.name for each in fused_chain(layers, layer))
        confirmed = same_weights(layers, layer, kernel)
        yield Pair(layer.name, "kernel", kernel.index, op.index, found_by, fused, confirmed)
        if len(op.inputs) > 2 and op.op != "TRANSPOSE_CONV" and op.inputs[2] >= 0:  # noqa: PLR2004 (the bias comes third)
            yield Pair(layer.name, "bias", op.inputs[2], op.index, found_by, fused)


def _outputs(layers: Sequence[Layer], model: Model, kernels: Mapping[int | None, Pair]) -> Iterator[Pair]:
    """One tensor per layer: of several the quantized one made last, as after a float island."""
    order = {layer.name: i for i, layer in enumerate(layers)}
    found: dict[str, Pair] = {pair.layer: pair for pair in _inputs(layers, model.main)}
    names, ends = by_name(layers), _ends(layers, model)
    for op in model.main.operators:
        for index in op.outputs:
            tensor = model.main.tensors[index]
            named = owners(tensor.name, names)
            kernel = kernels.get(op.index)
            if named:
                name, found_by = max((layer.name for layer in named), key=order.__getitem__), "name"
            elif index in ends or kernel:
                name, found_by = ends.get(index) or kernel.fused[-1], "structure"  # type: ignore[union-attr]
            else:
                continue
            known = found.get(name)
            if known is None or tensor.quant is not None:
                fused = kernel.fused if kernel and name in kernel.fused else ()
                found[name] = Pair(name, "output", index, op.index, found_by, fused)
    return iter(found.values())


def _inputs(layers: Sequence[Layer], graph: Graph) -> Iterator[Pair]:
    """Quantizers of the model's inputs, in order; a float input counts by the operator that quantizes it."""
    quantizers = [layer for layer in layers if layer.kind == "QuantizeLayer"]
    if len(quantizers) == len(graph.inputs):
        for layer, index in zip(quantizers, graph.inputs, strict=True):
            op = _quantizing(graph, index)
            yield Pair(layer.name, "output", op.outputs[0] if op else index, op.index if op else None, "structure")


def _quantizing(graph: Graph, index: int) -> Operator | None:
    return next((op for op in graph.operators if op.op == "QUANTIZE" and op.inputs[0] == index), None)


def _ends(layers: Sequence[Layer], model: Model) -> dict[int, str]:
    """Outputs of the file → layer: by the signature's names, or where each side has one output."""
    names = by_name(layers)
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    ends = {index: names[name].name for name, index in (signature.outputs if signature else ()) if name in names}
    used = {name for layer in layers for name in layer.inputs}
    last = [layer.name for layer in layers if layer.name not in used]
    if not ends and len(last) == len(model.main.outputs) == 1:
        ends = {model.main.outputs[0]: last[0]}
    return ends
