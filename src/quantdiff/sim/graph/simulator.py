"""Run a graph on the simulator: the same integers as a runtime gives, or real arithmetic, from the file alone.

Between a model in float and a runtime stand two chains of real arithmetic, each output to the nearest step: one in
which every operator is real, and one in which curves (softmax, logistic, means) are approximated as the runtime does it
and the rest still is real.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import inf, prod

import numpy as np

from quantdiff.graph import STATE, Graph, Operator, dense_values, keeps_resources
from quantdiff.ops import traits
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import Choice, run_ideal, run_operator
from quantdiff.sim.graph.resources import Resources
from quantdiff.sim.node import NoKernel, fitting, node_of, one_by_one
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.attention import attention
from quantdiff.sim.xnnpack.delegate import taken

COMPOSITE = "STABLEHLO_COMPOSITE"
CONTROL, CALLS, NESTED_AT_MOST = ("IF", "WHILE", COMPOSITE), 2**17, 20
"""Operators whose bodies are subgraphs, how many times they may call them for a sample, and how deep in each other."""
PER_ELEMENT = 100
"""Products that take as long as an element of any other operator."""
Operate = Callable[[Operator, Mapping[int, Array]], tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Called:
    """One call of a body: which one it is (``cond``, ``then``, …), its graph, and every tensor of it."""

    which: str
    body: Graph
    values: Mapping[int, Array] = field(repr=False)


@dataclass(slots=True)
class Calls:
    """The calls of bodies that are left, those of nested loops together: a loop may stand in a loop, or in itself.

    Attributes:
        products: how many products the operators may take, about, all together.
        kept: where it is a list, it takes each call of the outermost operator's bodies.
    """

    left: int = CALLS
    nested: int = 0
    products: float = inf
    kept: list[Called] | None = None

    def spend(self, graph: Graph, operator: Operator, values: Mapping[int, Array]) -> None:
        """Take off what an operator costs.

        Raises:
            NoKernel: it costs more than what is left.
        """
        sizes = [values[i].shape if i in values else graph.tensors[i].shape for i in operator.inputs if i >= 0]
        most = max(map(prod, sizes), default=0)
        window = prod(int(str(operator.options.get(f"filter_{side}", 1))) for side in ("height", "width"))
        kernels = sizes[1:] if operator.op == "BATCH_MATMUL" or traits(operator.op).weights is not None else []
        each = [prod(size) // max(1, size[-1]) for size in kernels if size]
        self.products -= most * max(PER_ELEMENT, *each, window)
        if self.products < 0:
            raise NoKernel("it takes too many products")


@dataclass(frozen=True, slots=True)
class Missing:
    """An operator that the simulator cannot compute, and why."""

    index: int
    op: str
    why: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """Every tensor that could be computed, samples along axis 0, and every operator that could not.

    ``skipped`` are the operators that wait for a tensor of a missing one.
    """

    runtime: Rules
    values: Mapping[int, Array] = field(repr=False)
    missing: tuple[Missing, ...] = ()
    skipped: tuple[int, ...] = ()


def simulate(
    graph: Graph,
    inputs: Sequence[Array],
    runtime: Rules,
    subgraphs: Sequence[Graph] = (),
    calls: Calls | None = None,
    keep: Collection[int] | None = None,
) -> Simulation:
    """The whole chain: each operator fed with what the ones before it gave.

    Shapes: each input (samples, *shape of the model's input). ``subgraphs`` are those of the model, for CALL_ONCE, IF
    and WHILE; ``calls`` limits all samples together. Tensors that are not to be kept go when nobody reads them any
    more, but those of graphs with resource variables. ``sim/graph/chains.py`` simulates several runtimes at once.
    """
    if not keeps_resources(graph):
        operate = partial(run_stateless, graph, subgraphs, runtime, calls)
        values = dict(zip(graph.inputs, inputs, strict=True))
        operators = graph.operators if keep is None else _freeing(graph.operators, values, keep)
        return _chain(operators, values, runtime, operate, graph, calls)
    return _stream(graph, dict(zip(graph.inputs, inputs, strict=True)), runtime, subgraphs, graph.operators, calls)


def simulate_on_threads(
    threads: int,
    graph: Graph,
    inputs: Sequence[Array],
    runtime: Rules,
    subgraphs: Sequence[Graph] = (),
    keep: Collection[int] | None = None,
) -> Simulation:
    """The same with the samples shared out among threads: compiled loops and NumPy let go of the interpreter.

    Samples that find what the one before them left stay on one thread.
    """
    count = min(threads, len(inputs[0])) if inputs and not keeps_resources(graph) else 1
    work = partial(_simulate_share, graph, runtime, subgraphs, keep)
    if count < 2:  # noqa: PLR2004 (nothing beside it)
        return work(inputs)
    with ThreadPoolExecutor(count) as on:
        return _joined(list(on.map(work, zip(*(np.array_split(x, count) for x in inputs), strict=True))))


def _simulate_share(
    graph: Graph, runtime: Rules, subgraphs: Sequence[Graph], keep: Collection[int] | None, inputs: Sequence[Array]
) -> Simulation:
    return simulate(graph, inputs, runtime, subgraphs, keep=keep)


def simulate_by(
    operate: Operate, graph: Graph, inputs: Sequence[Array], runtime: Rules, calls: Calls | None = None
) -> Simulation:
    """The whole chain, each operator computed by ``operate``; for graphs without resource variables."""
    return _chain(graph.operators, dict(zip(graph.inputs, inputs, strict=True)), runtime, operate, graph, calls)


def replay(graph: Graph, values: Mapping[int, Array], runtime: Rules, subgraphs: Sequence[Graph] = ()) -> Simulation:
    """The operators on the state alone, which find all that they store among ``values``."""
    return _stream(graph, values, runtime, subgraphs, [step for step in graph.operators if step.op in STATE])


def run_stateless(
    graph: Graph,
    subgraphs: Sequence[Graph],
    runtime: Rules,
    calls: Calls | None,
    operator: Operator,
    values: Mapping[int, Array],
) -> tuple[Array, ...]:
    """The outputs of any operator that leaves nothing to the next sample."""
    if operator.op in CONTROL:
        return run_control(graph, operator, values, runtime, subgraphs, calls)
    return run_operator(graph, operator, values, runtime)


def run_control(
    graph: Graph,
    operator: Operator,
    values: Mapping[int, Array],
    runtime: Rules,
    subgraphs: Sequence[Graph],
    calls: Calls | None = None,
) -> tuple[Array, ...]:
    """The outputs of an operator (``tflite/kernels/{if,while,stablehlo_composite}.cc``) whose bodies are subgraphs.

    Shapes: all (samples, …); each sample goes its own way.

    Raises:
        NoKernel: something in a body has no kernel, a loop does not end, or shapes depend on the sample.
    """
    step = {"IF": _if, "WHILE": _while, COMPOSITE: _composite}[operator.op]
    of_xnnpack = isinstance(runtime, Runtime) and runtime.family is Runtime.XNNPACK
    rules = runtime if of_xnnpack and operator.op == COMPOSITE and taken(node_of(graph, operator)) else None
    with fitting():
        for i in operator.inputs:
            if i < 0:
                raise NoKernel("an input is left out")
            if i not in values and graph.tensors[i].is_variable:
                raise NoKernel(f"it reads {graph.tensors[i].name!r}, a state that another operator keeps")
        held = [values[i] if i in values else dense_values(graph.tensors[i])[None] for i in operator.inputs]
        count = max(map(len, held), default=1)
        given = [np.broadcast_to(array, (count, *array.shape[1:])) for array in held]
        samples = []
        for k in range(count):
            body = partial(_body, operator, runtime, subgraphs, calls or Calls())
            arrays = [array[k] for array in given]
            if isinstance(rules, Runtime):
                samples.append([attention(node_of(graph, operator), arrays, rules)])
            else:
                samples.append(step(body, arrays))
        if len({tuple(array.shape for array in outputs) for outputs in samples}) > 1:
            raise NoKernel("the shapes that it gives depend on the data")
        return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))


Body = Callable[[str, list[Array]], list[Array]]


def _if(body: Body, given: list[Array]) -> list[Array]:
    return body("then" if np.all(given[0]) else "else", given[1:])


def _composite(body: Body, given: list[Array]) -> list[Array]:
    return body("decomposition", given)


def _while(body: Body, given: list[Array]) -> list[Array]:
    while True:
        (goes_on,) = body("cond", given)
        if not np.all(goes_on):
            return given
        given = body("body", given)


def _body(
    operator: Operator,
    runtime: Rules,
    subgraphs: Sequence[Graph],
    calls: Calls,
    which: str,
    given: list[Array],
) -> list[Array]:
    """The outputs of one of the operator's subgraphs, for one sample."""
    body = subgraphs[int(str(operator.options.get(f"{which}_subgraph_index", 0)))]
    if not calls.left or calls.nested == NESTED_AT_MOST:
        raise NoKernel(f"it calls its subgraphs too often, or in each other more than {NESTED_AT_MOST} times")
    kept = None if calls.nested else calls.kept
    calls.left -= 1
    calls.nested += 1
    try:
        keep = body.outputs if kept is None else None
        found = simulate(body, [array[None] for array in given], runtime, subgraphs, calls, keep)
    finally:
        calls.nested -= 1
    for item in found.missing:
        raise NoKernel(f"in its subgraph {body.name!r}, operator {item.index} {item.op}: {item.why}")
    if kept is not None:
        kept.append(Called(which, body, found.values))
    return [found.values[i][0] for i in body.outputs]


def _stream(
    graph: Graph,
    values: Mapping[int, Array],
    runtime: Rules,
    subgraphs: Sequence[Graph],
    operators: Sequence[Operator],
    calls: Calls | None = None,
) -> Simulation:
    """The samples in their order, each finding the state that the one before it left."""
    resources = Resources(subgraphs, runtime, run_operator)
    operate = partial(resources.operate, graph)
    return _joined([_chain(operators, sample, runtime, operate, graph, calls) for sample in one_by_one(values)])


def _joined(parts: Sequence[Simulation]) -> Simulation:
    """Some samples behind the others."""
    made = set.intersection(*(set(part.values) for part in parts))
    joined = {index: np.concatenate([part.values[index] for part in parts]) for index in made}
    missing = {item.index: item for part in parts for item in part.missing}
    skipped = {index for part in parts for index in part.skipped} - missing.keys()
    return Simulation(parts[0].runtime, joined, tuple(missing.values()), tuple(sorted(skipped)))


def _freeing(operators: Sequence[Operator], values: dict[int, Array], keep: Collection[int]) -> Iterator[Operator]:
    """The operators; after each ``values`` loses what nobody reads any more, but what is to be kept."""
    last = {i: k for k, operator in enumerate(operators) for i in (*operator.outputs, *operator.inputs)}
    for k, operator in enumerate(operators):
        yield operator
        for i in {*operator.inputs, *operator.outputs}.difference(keep):
            if last[i] == k:
                values.pop(i, None)


def _chain(
    operators: Iterable[Operator],
    values: dict[int, Array],
    runtime: Rules,
    operate: Operate,
    graph: Graph,
    calls: Calls | None = None,
) -> Simulation:
    """The operators one after another; ``values`` takes what they give."""
    missing: list[Missing] = []
    skipped: list[int] = []
    count = len(next(iter(values.values()), ()))
    for operator in operators:
        if not known(graph, operator, values):
            skipped.append(operator.index)
            continue
        try:
            if calls is not None:
                calls.spend(graph, operator, values)
            outputs = operate(operator, values)
            with fitting():
                made = dict(zip(operator.outputs, outputs, strict=True))
        except NoKernel as error:
            missing.append(Missing(operator.index, operator.op, str(error)))
            continue
        values.update(made)
    if skipped and not missing:  # the file is at fault, not the simulator
        missing.append(Missing(skipped[0], graph.operators[skipped[0]].op, "nothing before it makes what it reads"))
    values |= {
        i: np.broadcast_to(data, (count, *data.shape))
        for i in graph.outputs
        if i not in values and (data := graph.tensors[i].data) is not None
    }
    return Simulation(runtime, values, tuple(missing), tuple(skipped))


def known(graph: Graph, operator: Operator, values: Mapping[int, Array]) -> bool:
    """True when every input of the operator is there; a state starts afresh with each sample."""
    return not missing_inputs(graph, operator, values)


def missing_inputs(graph: Graph, operator: Operator, values: Mapping[int, Array]) -> list[int]:
    """The inputs that are no constants, no state, and not among ``values``."""
    tensors = graph.tensors
    given = {i for i in operator.inputs if i < 0 or tensors[i].is_constant or tensors[i].is_variable}
    return [i for i in operator.inputs if i not in given and i not in values]


def simulate_ideal(
    graph: Graph, inputs: Sequence[Array], runtime: Rules, choice: Choice, subgraphs: Sequence[Graph] = ()
) -> Simulation:
    """The whole chain; ``choice`` says which operators are real. Shapes as for ``simulate``.

    What has no real function (copies, floats, state, control flow) runs as on ``runtime``; so does all of a graph
    with resource variables.
    """
    if keeps_resources(graph):
        return simulate(graph, inputs, runtime, subgraphs)

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        if operator.op in CONTROL:
            return run_control(graph, operator, values, runtime, subgraphs)
        return run_ideal(graph, operator, values, runtime=runtime, choice=choice)

    return simulate_by(operate, graph, inputs, runtime)
