"""A graph with its loops written out: the rolled recurrent layer of a reference beside the unrolled one of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.ladder.real_operator import fold, folds, real_constant
from quantdiff.quant import Array
from quantdiff.sim.node import NoKernel, node_of

LOOP = "WHILE"
MOST = 20_000
"""Operators of a graph that is written out; a loop that goes on longer stays as it is."""


@dataclass(slots=True)
class Written:
    """The graph as far as it is written: tensors and operators, and the values of what is constant."""

    tensors: list[Tensor]
    operators: list[Operator] = field(default_factory=list)
    known: dict[int, Array] = field(default_factory=dict)

    def tensor(self, tensor: Tensor) -> int:
        """A new tensor like another one; gives its index."""
        index = len(self.tensors)
        self.tensors.append(replace(tensor, index=index))
        if tensor.is_constant:
            self.known[index] = real_constant(tensor)
        return index

    def operator(self, operator: Operator, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """One operator more, and what it gives where that hangs on constants alone."""
        if len(self.operators) >= MOST:
            raise NoKernel("a loop that does not end soon enough to be written out")
        made = replace(operator, index=len(self.operators), inputs=tuple(inputs), outputs=tuple(outputs))
        self.operators.append(made)
        if inputs and all(i < 0 or i in self.known for i in inputs):
            node = node_of(self.graph(), made)
            if folds(node):
                self.known.update(zip(outputs, fold(node, [self.known.get(i) for i in inputs]), strict=True))

    def graph(self) -> Graph:
        """So far."""
        return Graph("", tuple(self.tensors), (), (), ())


def unrolled(graph: Graph, subgraphs: Sequence[Graph]) -> Graph:
    """The same with every loop written out whose end does not depend on the data.

    Raises:
        NoKernel: a loop that does.
    """
    if not any(operator.op == LOOP for operator in graph.operators):
        return graph
    written = Written(list(graph.tensors))
    written.known = {t.index: real_constant(t) for t in graph.tensors if t.is_constant}
    now: dict[int, int] = {}
    for operator in graph.operators:
        inputs = [now.get(i, i) for i in operator.inputs]
        if operator.op == LOOP:
            now |= dict(zip(operator.outputs, _written_out(written, operator, inputs, subgraphs), strict=True))
        else:
            written.operator(operator, inputs, operator.outputs)
    outputs = tuple(now.get(i, i) for i in graph.outputs)
    return Graph(graph.name, tuple(written.tensors), tuple(written.operators), graph.inputs, outputs)


def _written_out(written: Written, loop: Operator, given: Sequence[int], subgraphs: Sequence[Graph]) -> Sequence[int]:
    """The loop's variables after its end."""
    condition, body = (subgraphs[_place(loop, f"{name}_subgraph_index")] for name in ("cond", "body"))
    variables = list(given)
    while _holds(written, condition, variables):
        variables = _inlined(written, body, variables)
    return variables


def _holds(written: Written, condition: Graph, variables: Sequence[int]) -> bool:
    (answer,) = _inlined(written, condition, variables)
    if answer not in written.known:
        raise NoKernel("a loop whose end depends on the data")
    return bool(written.known[answer].reshape(-1)[0])


def _inlined(written: Written, body: Graph, variables: Sequence[int]) -> list[int]:
    """The operators of a subgraph once more, on other tensors; gives its outputs."""
    place: Mapping[int, int] = dict(zip(body.inputs, variables, strict=True))
    place = {t.index: place[t.index] if t.index in place else written.tensor(t) for t in body.tensors}
    for operator in body.operators:
        inputs, outputs = ([place[i] if i >= 0 else i for i in side] for side in (operator.inputs, operator.outputs))
        written.operator(operator, inputs, outputs)
    return [place[i] for i in body.outputs]


def _place(loop: Operator, option: str) -> int:
    return int(str(loop.options.get(option, 0)))
