"""What a model file holds, tensor by tensor, with the real range of each quantized one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from quantdiff.errors import NoSuchTensor
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.lazy import Shown
from quantdiff.quant import INTEGER_RANGE, real_range


@dataclass(frozen=True, slots=True)
class RangedTensor:
    """A tensor with the smallest and largest real value that it can hold, one per scale."""

    tensor: Tensor
    min: tuple[float, ...]
    max: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class InspectedGraph:
    """The tensors asked for, and the operators that read or write them."""

    index: int
    name: str
    tensors: tuple[RangedTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Inspection(Shown):
    """A model and its subgraphs, the main one first."""

    model: Model
    graphs: tuple[InspectedGraph, ...]
    pattern: str | None = None


def inspect_model(model: Model, pattern: str | None = None) -> Inspection:
    """Everything the file says, or the tensors that ``pattern`` names and their operators.

    Raises:
        NoSuchTensor: ``pattern`` names none.
    """
    graphs = tuple(_inspect(index, graph) for index, graph in enumerate(model.subgraphs))
    if pattern is not None:
        graphs = tuple(_filtered(graph, pattern) for graph in graphs)
        if not any(graph.tensors for graph in graphs):
            raise NoSuchTensor(f"no tensor is named like {pattern!r}: quantdiff inspect without --tensor lists all")
    return Inspection(model, graphs, pattern)


def is_symmetric_weight(tensor: Tensor) -> bool:
    """True for constants with a signed narrow dtype whose zero points are all 0.

    TFLite's specification keeps such weights off the lowest code: [-127, 127] for int8. Activations with
    zero point 0 (int16) use their full range, and so do biases.
    """
    narrow = tensor.is_constant and tensor.dtype in {"int2", "int4", "int8", "int16"}
    return narrow and tensor.quant is not None and not any(tensor.quant.zero_point)


def _inspect(index: int, graph: Graph) -> InspectedGraph:
    tensors = tuple(map(_ranged, graph.tensors))
    return InspectedGraph(index, graph.name, tensors, graph.operators, graph.inputs, graph.outputs)


def _ranged(tensor: Tensor) -> RangedTensor:
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return RangedTensor(tensor, (), ())
    return RangedTensor(tensor, *real_range(tensor.quant, tensor.dtype, narrow=is_symmetric_weight(tensor)))


def _filtered(graph: InspectedGraph, pattern: str) -> InspectedGraph:
    tensors = tuple(each for each in graph.tensors if _matches(each.tensor, pattern))
    kept = {each.tensor.index for each in tensors}
    operators = tuple(op for op in graph.operators if kept & {*op.inputs, *op.outputs})
    return replace(graph, tensors=tensors, operators=operators)


def _matches(tensor: Tensor, pattern: str) -> bool:
    """A part of the name, a shell pattern for all of it, or the index."""
    return pattern in tensor.name or fnmatchcase(tensor.name, pattern) or pattern == str(tensor.index)
