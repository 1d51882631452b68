"""Resource variables in real arithmetic: what a sample reads is what the one before it left.

READ_VARIABLE becomes a delay: its inputs are the tensor that is assigned, one sample earlier, and what the variable
holds first. Operators that wait for each other through such a delay go sample by sample, all others at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.ops import INTO_FLOAT
from quantdiff.quant import Array
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.resources import STATE, Resources
from quantdiff.sim.node import NoKernel, fitting
from quantdiff.sim.runtime import Runtime

HANDLE, DELAY, ASSIGN, CALL = STATE
Loops = tuple[tuple[Operator, ...], ...]
"""Operators in the order in which they run; several together go sample by sample."""


def delayed(graph: Graph, subgraphs: Sequence[Graph]) -> Graph:
    """The graph with a delay for each variable that is read; operators on the state alone stay and give nothing.

    Raises:
        NoKernel: a variable that starts with nothing.
    """
    if not any(operator.op in STATE for operator in graph.operators):
        return graph
    first, assigned = _first(graph, subgraphs), dict[tuple[str, str], int]()
    tensors, operators = list(graph.tensors), list[Operator]()
    variable = {op.outputs[0]: _key(op) for op in graph.operators if op.op == HANDLE}
    last = {variable[op.inputs[0]]: op.inputs[1] for op in graph.operators if op.op == ASSIGN}
    for operator in graph.operators:
        changed = operator
        if operator.op == ASSIGN:
            assigned[variable[operator.inputs[0]]] = operator.inputs[1]
        elif operator.op == DELAY:
            key, read = variable[operator.inputs[0]], graph.tensors[operator.outputs[0]]
            if key in assigned:
                changed = replace(operator, op=INTO_FLOAT, inputs=(assigned[key],))
            else:
                if key not in first:
                    raise NoKernel("a variable is read that nothing was assigned to")
                held, data = len(tensors), first[key]
                named = f"{read.name} at first"
                tensors.append(replace(read, index=held, name=named, data=data, shape=data.shape, shape_signature=None))
                changed = replace(operator, inputs=(last.get(key, held), held))
        operators.append(changed)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _key(operator: Operator) -> tuple[str, str]:
    return str(operator.options.get("container") or ""), str(operator.options.get("shared_name") or "")


def _first(graph: Graph, subgraphs: Sequence[Graph]) -> dict[tuple[str, str], Array]:
    """What the variables hold before the first sample, as it is stored. Shapes: those of the variables."""
    start = Resources(subgraphs, Runtime.REFERENCE, run_operator)
    with fitting():
        for operator in graph.operators:
            if operator.op == CALL:
                start.operate(graph, operator, {})
    return {key: start.held[number][0] for key, number in start.ids.items() if number in start.held}


def is_delay(operator: Operator) -> bool:
    """Whether an operator gives what the sample before left."""
    return operator.op == DELAY


def shifted(assigned: Array, first: Array, count: int) -> Array:
    """One sample later. Shapes: assigned (samples or 1, …), first (…) -> (count, …)."""
    rows = np.broadcast_to(assigned, (count, *assigned.shape[1:]))
    return np.concatenate([first.reshape(1, *rows.shape[1:]).astype(rows.dtype), rows[:-1]])


def in_loops(graph: Graph, folded: AbstractSet[int]) -> Loops:
    """The operators in an order in which each finds what it reads, a delay behind what is assigned."""
    running = [op for op in graph.operators if op.index not in folded]
    if not any(map(is_delay, running)):
        return tuple((op,) for op in running)
    makers = {i: k for k, op in enumerate(running) for i in op.outputs}
    reads = [[makers[i] for i in op.inputs if i in makers] for op in running]
    read_by: list[list[int]] = [[] for _ in running]
    for k, made in enumerate(reads):
        for maker in made:
            read_by[maker].append(k)
    order = [k for some in _finished(range(len(running)), read_by) for k in some]
    return tuple(tuple(running[k] for k in sorted(loop)) for loop in _finished(reversed(order), reads))


def _finished(starts: Iterable[int], edges: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """From each start what is met for the first time, depth first, each behind what is met from it.

    Twice, from the last that was finished and against the edges, it finds what waits for each other, in linear time:
    S. R. Kosaraju; M. Sharir, "A strong-connectivity algorithm", 1981.
    """
    met = set[int]()
    for start in starts:
        path, found = [] if start in met else [(start, iter(edges[start]))], list[int]()
        met.add(start)
        while path:
            new = next((k for k in path[-1][1] if k not in met), None)
            if new is None:
                found.append(path.pop()[0])
            else:
                met.add(new)
                path.append((new, iter(edges[new])))
        if found:
            yield found
