"""Constants of a graph as real arithmetic takes them.

Resource variables that hold the same at every sample are constants too: a kernel under a mask that pruning left in.
Biases are in the units of the sums that they are added to: kernels take the integers and never read their own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantdiff.graph import STATE, Graph, Operator, Tensor
from quantdiff.ladder.real_operator import fold, folds, real_constant, real_function
from quantdiff.ops import INTO_FLOAT, traits
from quantdiff.quant import Array, QuantParams, is_float
from quantdiff.sim.node import NoKernel, node_of

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


HANDLE, READ, ASSIGN, _ = STATE


Held = Mapping[str, Array]
"""What variables of floats hold, by name, where it hangs on constants alone. Shapes: those of the variables."""


def with_steady(graph: Graph, first: Held) -> Graph:
    """The graph with a constant for each reading that gives the same numbers at every sample.

    ``first`` is what the variables hold before the first sample. What one pass over the graph leaves in them is what
    the next one finds; when that changes nothing more, all later samples read the same.
    """
    held = dict(first)
    while held:
        found, after = _read(graph, held)
        again, later = _read(graph, after)
        if changing := [name for name in held if not _same(after.get(name), later.get(name))]:
            held = {name: value for name, value in held.items() if name not in changing}
            continue
        return _constant(graph, {i: found[i] for i in found if _same(found[i], again.get(i))})
    return graph


def unread(graph: Graph) -> set[int]:
    """The operators of a stream that no output hangs on: what only keeps a steady variable as it is."""
    if not any(operator.op in STATE for operator in graph.operators):
        return set()
    left, read = {op.index: op for op in graph.operators}, set(graph.outputs)
    while found := [op for op in left.values() if not read.isdisjoint(op.outputs)]:
        read.update(i for op in found for i in op.inputs)
        for op in found:
            del left[op.index]
    return set(left)


def variables(graph: Graph) -> dict[int, str]:
    """The name of the variable behind each handle."""
    return {op.outputs[0]: name_of(op) for op in graph.operators if op.op == HANDLE}


def name_of(handle: Operator) -> str:
    """A variable's name, which is the same in every subgraph."""
    return f"{handle.options.get('container') or ''}/{handle.options.get('shared_name') or ''}"


def _read(graph: Graph, held: Held) -> tuple[dict[int, Array], dict[str, Array]]:
    """One sample: what is read, by tensor, and what is held afterwards, as far as constants tell."""
    named, after, read = variables(graph), dict(held), dict[int, Array]()
    known = {t.index: real_constant(t) for t in graph.tensors if t.is_constant}
    for operator in graph.operators:
        if operator.op == READ and named[operator.inputs[0]] in after:
            read[operator.outputs[0]] = known[operator.outputs[0]] = after[named[operator.inputs[0]]]
        elif operator.op == ASSIGN:
            after.pop(named[operator.inputs[0]], None)
            if operator.inputs[1] in known:
                after[named[operator.inputs[0]]] = known[operator.inputs[1]]
        elif operator.op not in STATE and operator.inputs and all(i < 0 or i in known for i in operator.inputs):
            known.update(_computed(graph, operator, known))
    return read, after


def _computed(graph: Graph, operator: Operator, known: Mapping[int, Array]) -> dict[int, Array]:
    """What an operator makes of constants; nothing where it works on samples."""
    node, given = node_of(graph, operator), [known.get(i) for i in operator.inputs]
    real = real_function(operator.op)
    try:
        if folds(node):
            return dict(zip(operator.outputs, fold(node, given), strict=True))
        if real is not None and real.anywhere and node.activation == "NONE":
            return {operator.outputs[0]: real.function(node, *given)}
    except (NoKernel, ValueError, TypeError, IndexError):
        pass  # it stays an operator, and is said to fail where it is computed
    return {}


def _same(one: Array | None, other: Array | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _constant(graph: Graph, read: Mapping[int, Array]) -> Graph:
    """The graph in which readings of floats restate a constant."""
    tensors, operators = list(graph.tensors), list(graph.operators)
    for place, operator in enumerate(graph.operators):
        if operator.op == READ and operator.outputs[0] in read and is_float(tensors[operator.outputs[0]].dtype):
            data, like, held = read[operator.outputs[0]], tensors[operator.outputs[0]], len(tensors)
            tensors.append(replace(like, index=held, data=data, shape=data.shape, shape_signature=None))
            operators[place] = replace(operator, op=INTO_FLOAT, inputs=(held,))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))
