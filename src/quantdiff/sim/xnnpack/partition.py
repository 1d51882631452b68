"""Hold the delegate's rules against what the interpreter says that the delegate took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quantdiff.graph import Graph, Operator
from quantdiff.sim.node import node_of
from quantdiff.sim.xnnpack.checks import unpacks
from quantdiff.sim.xnnpack.delegate import taken


def agrees(graph: Graph, delegated: Sequence[tuple[Sequence[int], Sequence[int]]]) -> bool:
    """Whether the rules of ``sim/xnnpack/delegate.py`` draw the same line as the interpreter.

    ``delegated`` are the parts that it reports: the tensors that enter and those that leave each. A tensor may go
    from part to part; constants do not count, the delegate folds some away.
    """
    ours = operators_taken(graph)
    indices = {op.index for op in ours}
    made, read = _tensors(graph, (op.outputs for op in ours)), _tensors(graph, (op.inputs for op in ours))
    elsewhere = _tensors(graph, (op.inputs for op in graph.operators if op.index not in indices))
    leaving = made & (elsewhere | frozenset(graph.outputs))
    entered = _tensors(graph, (given for given, _ in delegated))
    left = _tensors(graph, (results for _, results in delegated))
    between = entered & made
    return entered - made == read - made and between <= left and leaving <= left and left - leaving <= between


def operators_taken(graph: Graph) -> list[Operator]:
    """The operators that the delegate accepts; the handle of a variable goes with those that use it."""
    ours = [op for op in graph.operators if taken(node_of(graph, op))]
    used = _tensors(graph, (op.inputs[:1] for op in ours if op.op in ("READ_VARIABLE", "ASSIGN_VARIABLE")))
    return ours + [op for op in graph.operators if op.op == "VAR_HANDLE" and used.intersection(op.outputs)]


def hidden(graph: Graph) -> frozenset[int]:
    """Tensors that nobody can read: the delegate unpacks them where it is, never into the tensor."""
    made = (op.outputs for op in graph.operators if unpacks(graph, op) and taken(node_of(graph, op)))
    return _tensors(graph, made)


def _tensors(graph: Graph, lists: Iterable[Sequence[int]]) -> frozenset[int]:
    """Every activation that is named; -1 stands for an input left out."""
    return frozenset(i for indices in lists for i in indices if i >= 0 and not graph.tensors[i].is_constant)
