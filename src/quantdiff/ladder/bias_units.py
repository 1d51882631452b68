"""Biases in the units of the sums that they are added to: kernels take the integers and never read their own scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.ops import traits
from quantdiff.quant import Array, QuantParams

ROUNDING = 1e-6
"""Relative: products of two float32 differ by 1.2e-7 with the order of rounding."""


def in_units_of_sums(graph: Graph) -> Graph:
    """The graph with a bias of its own for each operator whose stored one states another scale.

    A layer that is used twice has one bias, and two inputs with a scale each: it is right for one of them.
    """
    tensors, operators = list(graph.tensors), list[Operator]()
    for operator in graph.operators:
        changed = operator
        place = traits(operator.op).bias
        if place is not None and (scale := _added_with(graph, operator, place)) is not None:
            bias, inputs = tensors[operator.inputs[place]], list(operator.inputs)
            inputs[place] = len(tensors)
            quant = QuantParams(tuple(scale.tolist()), (0,) * scale.size, 0 if scale.size > 1 else None)
            tensors.append(replace(bias, index=len(tensors), quant=quant))
            changed = replace(operator, inputs=tuple(inputs))
        operators.append(changed)
    if len(tensors) == len(graph.tensors):
        return graph
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _added_with(graph: Graph, operator: Operator, place: int) -> Array | None:
    """The scale of the sums, where the bias states another. Shape: (1,) or (channels,)."""
    known = traits(operator.op)
    places = (known.x, known.weights or 0, place)
    if place >= len(operator.inputs) or any(operator.inputs[k] < 0 for k in places):
        return None
    x, weights, bias = (graph.tensors[operator.inputs[k]] for k in places)
    if x.grid is None or bias.dtype not in ("int32", "int64") or not bias.is_constant:
        return None
    product, stated = _scale(x) * _scale(weights), _scale(bias)
    fits = product.size == stated.size or 1 in (product.size, stated.size)
    return product if fits and (np.abs(stated - product) > ROUNDING * product).any() else None


def _scale(tensor: Tensor) -> Array:
    return np.asarray(tensor.quant.scale if tensor.quant is not None else (), np.float64)
