"""Outputs of layers and activations of the file: by name, by the operator that has the layer's kernel, by signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quantdiff.align.chains import by_name, owners
from quantdiff.align.pairs import Pair
from quantdiff.graph import Graph, Model, Operator
from quantdiff.layer import Layer

INTO_FLOAT = "DEQUANTIZE"


def output_pairs(layers: Sequence[Layer], model: Model, kernels: Mapping[int, Pair]) -> Iterator[Pair]:
    """One tensor per layer, and the sum before an activation that is an operator of its own.

    Of several tensors of one layer the quantized one made last counts. ``kernels`` are the pairs by operator.
    """
    order = {layer.name: i for i, layer in enumerate(layers)}
    found = {pair.layer: pair for pair in _inputs(layers, model.main)}
    names, ends = by_name(layers), _ends(layers, model)
    for op in model.main.operators:
        kernel = kernels.get(op.index)
        for index in op.outputs:
            tensor = model.main.tensors[index]
            named = owners(tensor.name, names)
            if named:
                name, found_by = max((layer.name for layer in named), key=order.__getitem__), "name"
            elif index in ends or kernel is not None:
                name, found_by = _end(ends.get(index), kernel), "structure"
            else:
                continue
            if name not in found or tensor.quant is not None:
                fused = kernel.fused if kernel is not None and name in kernel.fused else ()
                found[name] = Pair(name, "output", index, op.index, found_by, fused)
    yield from found.values()
    yield from _sums(model.main, kernels, {pair.tensor for pair in found.values()})


def _end(named: str | None, kernel: Pair | None) -> str:
    if named is not None:
        return named
    assert kernel is not None
    return kernel.fused[-1]


def _sums(graph: Graph, kernels: Mapping[int, Pair], taken: set[int]) -> Iterator[Pair]:
    """What an operator with weights gives where the layer's output is that of a later operator (softmax)."""
    for index, kernel in kernels.items():
        tensor = graph.operators[index].outputs[0]
        if tensor not in taken:
            yield Pair(kernel.layer, "pre_activation", tensor, index, "structure", kernel.fused)


def _inputs(layers: Sequence[Layer], graph: Graph) -> Iterator[Pair]:
    """Quantizers of the model's inputs, in order; a float input counts by the operator that quantizes it."""
    places = [layer for layer in layers if layer.kind == "QuantizeLayer"]
    if len(places) == len(graph.inputs):
        for layer, index in zip(places, graph.inputs, strict=True):
            op = _quantizing(graph, index)
            yield Pair(layer.name, "output", op.outputs[0] if op else index, op.index if op else None, "structure")


def _quantizing(graph: Graph, index: int) -> Operator | None:
    return next((op for op in graph.operators if op.op == "QUANTIZE" and op.inputs[0] == index), None)


def _ends(layers: Sequence[Layer], model: Model) -> dict[int, str]:
    """Outputs of the file → layer: by the signature's names, or where each side has one output.

    A float output counts by the quantized tensor before it.
    """
    names = by_name(layers)
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    ends = {index: names[name].name for name, index in (signature.outputs if signature else ()) if name in names}
    used = {name for layer in layers for name in layer.inputs}
    last = [layer.name for layer in layers if layer.name not in used]
    if not ends and len(last) == len(model.main.outputs) == 1:
        ends = {model.main.outputs[0]: last[0]}
    makers = {output: op for op in model.main.operators for output in op.outputs}
    before = {i: makers[i].inputs[0] for i in ends if i in makers and makers[i].op == INTO_FLOAT}
    return {before.get(index, index): name for index, name in ends.items()}
