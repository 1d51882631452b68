"""Operators that hold others, and the reads of a state: which operators lead to the element, call by call."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from quantdiff.graph import Graph, Model, Operator
from quantdiff.paper.arithmetic.registry import Case, Position
from quantdiff.paper.by_kernel import operand_of, operands_of
from quantdiff.paper.working import Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.simulator import Called, Calls, replay, run_control
from quantdiff.sim.node import NoKernel
from quantdiff.sim.xnnpack.attention import attention

GIVES = {
    "IF": "what the branch gives",
    "WHILE": "what the last body gives, or what went in",
    "STABLEHLO_COMPOSITE": "what its decomposition gives",
}
AS_A_WHOLE = "as a whole, sim/xnnpack/attention.py"
Values = Mapping[int, Array]


def by_body(model: Model, case: Case, values: Values, rules: Rules, at: Position) -> Sheet:
    """IF, WHILE, composites: an element of each operator of their subgraphs, call by call.

    Raises:
        NoKernel: something in a body has no kernel, or a loop does not end.
    """
    operator, kept = case.node.operator, list[Called]()
    feeds = {i: values[i][None] for i in operator.inputs if i in values}
    y = run_control(model.main, operator, feeds, rules, model.subgraphs, Calls(kept=kept))[0][0]
    formula = GIVES[operator.op] if kept else (inspect.getdoc(attention) or "").partition("\n")[0].replace("``", "")
    steps = (*_called(kept, y.shape, at), Step("y", formula.rstrip("."), y[at].item()))
    rule = "subgraphs, call by call; an element of each operator" if kept else AS_A_WHOLE
    return Sheet((*operands_of(case, y, at), operand_of("y", case.node.y, y, at)), steps, rule=rule)


def _called(kept: Sequence[Called], shape: tuple[int, ...], at: Position) -> Iterator[Step]:
    counts = Counter[str]()
    for call in kept:
        counts[call.which] += 1
        for inner in call.body.operators:
            yield from _step(call.body, inner, call.values, f"{call.which} {counts[call.which]}: ", (shape, at))


def _step(
    body: Graph, inner: Operator, values: Values, before: str, asked: tuple[tuple[int, ...], Position]
) -> Iterator[Step]:
    """The element at the place asked for where the shape is the same, else the first one; what is empty has none."""
    (shape, at), index = asked, next(iter(inner.outputs), -1)
    if index in values and values[index][0].size:
        array, tensor = values[index][0], body.tensors[index]
        place = at if array.shape == shape else (0,) * array.ndim
        where = f", element {list(place)}" if place else ""
        yield Step(f"{before}{inner.op} #{inner.index}", f"{tensor.label}{where}", array[place].item())


def by_state(model: Model, case: Case, samples: Values, rules: Rules, at: Position) -> Sheet:
    """READ_VARIABLE: what was stored before, sample by sample, and what the variable holds then.

    Shapes: of ``samples`` all up to the one that is asked for, (samples, …).

    Raises:
        NoKernel: nothing was stored, or what is stored cannot be simulated.
    """
    graph, operator = model.main, case.node.operator
    found = replay(graph, samples, rules, model.subgraphs)
    for item in found.missing:
        raise NoKernel(f"{item.op} #{item.index}: {item.why}")
    y = found.values[operator.outputs[0]][-1]
    steps = (*_stored(graph, operator, samples, (y.shape, at)), Step("y", "what the variable holds", y[at].item()))
    rule = "what was stored last"
    return Sheet((operand_of("y", case.node.y, y, at),), steps, rule=rule)


def _stored(
    graph: Graph, operator: Operator, samples: Values, asked: tuple[tuple[int, ...], Position]
) -> Iterator[Step]:
    """What is stored into the variable in each sample, up to this reading."""
    (shape, at), name = asked, _variable(graph, operator)
    writers = [each for each in graph.operators if each.op == "ASSIGN_VARIABLE" and _variable(graph, each) == name]
    count = max((len(array) for array in samples.values()), default=1)
    for sample in range(count):
        for each in writers:
            array = samples.get(each.inputs[1])
            earlier = sample < count - 1 or each.index < operator.index
            if earlier and array is not None and array[sample].shape == shape:
                text = f"{graph.tensors[each.inputs[1]].label}, element {list(at)}"
                yield Step(f"sample {sample}: {each.op} #{each.index}", text, array[sample][at].item())


def _variable(graph: Graph, operator: Operator) -> object:
    """The name under which VAR_HANDLE knows what the operator reads or writes; None where nothing names it."""
    handle = graph.producer(operator.inputs[0])
    return None if handle is None else (handle.options.get("container"), handle.options.get("shared_name"))
