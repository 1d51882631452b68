"""Control flow written out, and resource variables in real arithmetic: a sample reads what the one before it left.

READ_VARIABLE becomes a delay: its inputs are the tensor that is assigned, one sample earlier, and what the variable
holds first. Variables that hold the same at every sample are constants: a kernel under a mask that pruning left in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.graph import STATE, Graph, Operator, Tensor
from quantdiff.ladder.real_operator import fold, folds, real_constant, real_function
from quantdiff.ops import INTO_FLOAT
from quantdiff.quant import Array, is_float
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.resources import Resources
from quantdiff.sim.node import NoKernel, fitting, node_of
from quantdiff.sim.runtime import Runtime

HANDLE, DELAY, ASSIGN, CALL = STATE


def delayed(graph: Graph, subgraphs: Sequence[Graph]) -> Graph:
    """The graph with a delay for each variable that is read; operators on the state alone stay and give nothing.

    Raises:
        NoKernel: a variable that starts with nothing.
    """
    first, assigned = _first(graph, subgraphs), dict[str, int]()
    graph = with_steady(graph, {name: array for name, array in first.items() if array.dtype.kind == "f"})
    tensors, operators, variable = list(graph.tensors), list[Operator](), variables(graph)
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


def _first(graph: Graph, subgraphs: Sequence[Graph]) -> dict[str, Array]:
    """What the variables hold before the first sample, as it is stored. Shapes: those of the variables."""
    start = Resources(subgraphs, Runtime.REFERENCE, run_operator)
    with fitting():
        for operator in graph.operators:
            if operator.op == CALL:
                start.operate(graph, operator, {})
    return {"/".join(key): start.held[number][0] for key, number in start.ids.items() if number in start.held}


LOOP, BRANCH, COMPOSITE = "WHILE", "IF", "STABLEHLO_COMPOSITE"
CONTROL = (LOOP, BRANCH, COMPOSITE)
RESTATES, CHOOSES = INTO_FLOAT, "SELECT_V2"
"""What stands where an operator with a body gave its outputs."""
MOST, TENSORS, NESTED = 20_000, 2**18, 20
"""Operators and bodies of what is written out, its tensors, and bodies in each other: beyond, it stays as it is."""


@dataclass(slots=True)
class Written:
    """The graph as far as it is written: tensors and operators, and the values of what is constant.

    ``within``: the file's operator that is being written out, None outside; ``origin`` has it for each that is inside.
    """

    subgraphs: Sequence[Graph]
    tensors: list[Tensor]
    operators: list[Operator] = field(default_factory=list)
    known: dict[int, Array] = field(default_factory=dict)
    origin: dict[int, Operator] = field(default_factory=dict)
    within: Operator | None = None
    bodies: int = 0
    nested: int = 0

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
        if self.within is not None:
            self.origin[made.index] = self.within
        if inputs and all(i < 0 or i in self.known for i in inputs):
            node = node_of(self.graph(), made)
            if folds(node):
                self.known.update(zip(outputs, fold(node, [self.known.get(i) for i in inputs]), strict=True))

    def graph(self) -> Graph:
        """So far."""
        return Graph("", tuple(self.tensors), (), (), ())


def unrolled(graph: Graph, subgraphs: Sequence[Graph]) -> tuple[Graph, Mapping[int, Operator]]:
    """The same without control flow, and for each operator that stands for one of the file's which that was.

    Tensors keep their indices, those of bodies follow.

    Raises:
        NoKernel: a loop whose end depends on the data, or a body that changes a variable.
    """
    written = Written(subgraphs, list(graph.tensors))
    written.known = {t.index: real_constant(t) for t in graph.tensors if t.is_constant}
    for operator in graph.operators:
        written.within = operator
        _add(written, operator, operator.inputs, operator.outputs)
    return Graph(graph.name, tuple(written.tensors), tuple(written.operators), graph.inputs, graph.outputs), (
        written.origin
    )


def _add(written: Written, operator: Operator, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """An operator, or what it stands for."""
    if operator.op == BRANCH and inputs[0] not in written.known:
        ways = [_inlined(written, _body(written, operator, which), inputs[1:]) for which in ("then", "else")]
        for output, *either in zip(outputs, *ways, strict=True):
            chosen = Operator(0, CHOOSES, (), ())
            written.operator(chosen, (inputs[0], *either), (output,))
    elif operator.op in CONTROL:
        for made, output in zip(_written_out(written, operator, inputs), outputs, strict=True):
            written.operator(Operator(0, RESTATES, (), ()), (made,), (output,))
    else:
        written.operator(operator, inputs, outputs)


def _written_out(written: Written, operator: Operator, given: Sequence[int]) -> Sequence[int]:
    """What a loop's variables are after its end, or what the only body in question gives."""
    if operator.op == COMPOSITE:
        return _inlined(written, _body(written, operator, "decomposition"), given)
    if operator.op == BRANCH:
        which = "then" if written.known[given[0]].all() else "else"
        return _inlined(written, _body(written, operator, which), given[1:])
    condition, body, variables = *(_body(written, operator, each) for each in ("cond", "body")), list(given)
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
    written.bodies += 1
    written.nested += 1
    if max(written.bodies - MOST, written.nested - NESTED, len(written.tensors) - TENSORS) > 0:
        raise NoKernel("a loop that does not end soon enough to be written out")
    place: Mapping[int, int] = dict(zip(body.inputs, variables, strict=True))
    place = {t.index: place[t.index] if t.index in place else written.tensor(t) for t in body.tensors}
    for operator in body.operators:
        if operator.op in STATE:
            raise NoKernel("a body that changes a variable")
        inputs, outputs = ([place[i] if i >= 0 else i for i in side] for side in (operator.inputs, operator.outputs))
        _add(written, operator, inputs, outputs)
    written.nested -= 1
    return [place[i] for i in body.outputs]


def _body(written: Written, operator: Operator, which: str) -> Graph:
    return written.subgraphs[int(str(operator.options.get(f"{which}_subgraph_index", 0)))]


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
        if operator.op == DELAY and named[operator.inputs[0]] in after:
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
        if operator.op == DELAY and operator.outputs[0] in read and is_float(tensors[operator.outputs[0]].dtype):
            data, like, held = read[operator.outputs[0]], tensors[operator.outputs[0]], len(tensors)
            tensors.append(replace(like, index=held, data=data, shape=data.shape, shape_signature=None))
            operators[place] = replace(operator, op=INTO_FLOAT, inputs=(held,))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))
