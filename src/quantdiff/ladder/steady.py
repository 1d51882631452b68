"""Resource variables that hold the same at every sample, as constants: a kernel under a mask that pruning left in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.ladder.real_operator import fold, folds, real_constant, real_function
from quantdiff.ops import INTO_FLOAT
from quantdiff.quant import Array, is_float
from quantdiff.sim.node import STATE, NoKernel, node_of

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
