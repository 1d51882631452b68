"""Run a graph on the simulator: the same integers as a runtime gives, from the file alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.quant import Array
from quantdiff.run.resources import STATE, Resources, keeps_resources, one_by_one
from quantdiff.sim.delegate import kernel_of
from quantdiff.sim.node import Node, NoKernel, node_of
from quantdiff.sim.registry import Kernel, kernels
from quantdiff.sim.runtime import Runtime

Operate = Callable[[Operator, Mapping[int, Array]], tuple[Array, ...]]
ELEMENTS_AT_ONCE, BLOCKED_AT_ONCE = 2**19, 2**25
"""Input and output elements of the samples that go through a kernel together; more where it works in blocks itself."""
BLOCKED_TYPES = ("int8", "uint8")


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

    runtime: Runtime
    values: Mapping[int, Array] = field(repr=False)
    missing: tuple[Missing, ...] = ()
    skipped: tuple[int, ...] = ()


def simulate(graph: Graph, inputs: Sequence[Array], runtime: Runtime, subgraphs: Sequence[Graph] = ()) -> Simulation:
    """The whole chain: each operator fed with what the ones before it gave.

    Shapes: each input (samples, *shape of the model's input). ``subgraphs`` are those of the model, for CALL_ONCE.
    ``run/chains.py`` simulates several runtimes at once.
    """
    if not keeps_resources(graph):
        return simulate_by(partial(_stateless, graph, runtime), graph, inputs, runtime)
    return _stream(graph, dict(zip(graph.inputs, inputs, strict=True)), runtime, subgraphs, graph.operators)


def simulate_by(operate: Operate, graph: Graph, inputs: Sequence[Array], runtime: Runtime) -> Simulation:
    """The whole chain, each operator computed by ``operate``; for graphs without resource variables."""
    return _chain(graph.operators, dict(zip(graph.inputs, inputs, strict=True)), runtime, operate, graph)


def replay(graph: Graph, values: Mapping[int, Array], runtime: Runtime, subgraphs: Sequence[Graph] = ()) -> Simulation:
    """The operators on the state alone, which find all that they store among ``values``."""
    return _stream(graph, values, runtime, subgraphs, [step for step in graph.operators if step.op in STATE])


def _stateless(graph: Graph, runtime: Runtime, operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
    return run_operator(graph, operator, values, runtime)


def _stream(
    graph: Graph,
    values: Mapping[int, Array],
    runtime: Runtime,
    subgraphs: Sequence[Graph],
    operators: Sequence[Operator],
) -> Simulation:
    """The samples in their order, each finding the state that the one before it left."""
    resources = Resources(subgraphs, runtime, run_operator)
    operate = partial(resources.operate, graph)
    parts = [_chain(operators, sample, runtime, operate, graph) for sample in one_by_one(values)]
    made = set.intersection(*(set(part.values) for part in parts))
    joined = {index: np.concatenate([part.values[index] for part in parts]) for index in made}
    missing = {item.index: item for part in parts for item in part.missing}
    skipped = {index for part in parts for index in part.skipped} - missing.keys()
    return Simulation(runtime, joined, tuple(missing.values()), tuple(sorted(skipped)))


def _chain(
    operators: Sequence[Operator], values: dict[int, Array], runtime: Runtime, operate: Operate, graph: Graph
) -> Simulation:
    """The operators one after another; ``values`` takes what they give."""
    missing: list[Missing] = []
    skipped: list[int] = []
    for operator in operators:
        if not known(graph, operator, values):
            skipped.append(operator.index)
            continue
        try:
            outputs = operate(operator, values)
        except NoKernel as error:
            missing.append(Missing(operator.index, operator.op, str(error)))
            continue
        values.update(zip(operator.outputs, outputs, strict=True))
    return Simulation(runtime, values, tuple(missing), tuple(skipped))


def known(graph: Graph, operator: Operator, values: Mapping[int, Array]) -> bool:
    """True when every input of the operator is there; a state starts afresh with each sample."""
    return not missing_inputs(graph, operator, values)


def missing_inputs(graph: Graph, operator: Operator, values: Mapping[int, Array]) -> list[int]:
    """The inputs that are no constants, no state, and not among ``values``."""
    tensors = graph.tensors
    given = {i for i in operator.inputs if i < 0 or tensors[i].is_constant or tensors[i].is_variable}
    return [i for i in operator.inputs if i not in given and i not in values]


def run_operator(graph: Graph, operator: Operator, values: Mapping[int, Array], runtime: Runtime) -> tuple[Array, ...]:
    """The outputs of one operator, given its input tensors with the samples along axis 0.

    Raises:
        NoKernel: the simulator has none for this op, these types or this runtime.
    """
    return run_operator_on_each(graph, operator, values, (runtime,))[runtime]


def run_operator_on_each(
    graph: Graph,
    operator: Operator,
    values: Mapping[int, Array],
    runtimes: Sequence[Runtime],
    kernel: Kernel | None = None,
) -> dict[Runtime, tuple[Array, ...]]:
    """The same for several runtimes that get the same input: what they have in common is computed once.

    ``kernel`` stands in for the op's own.

    Raises:
        NoKernel: the simulator has none for this op, these types or one of the runtimes.
    """
    kernel = kernel or kernels().get(operator.op)
    if kernel is None:
        raise NoKernel("no kernel")
    node = node_of(graph, operator)
    feeds = [values.get(i) for i in operator.inputs]
    count = max((len(array) for array in feeds if array is not None), default=1)
    feeds = [None if f is None else np.broadcast_to(f, (count, *f.shape[1:])) for f in feeds]
    merged = together(node, kernel, feeds)
    ran_by, step = {runtime: kernel_of(node, runtime) for runtime in runtimes}, merged or 1
    distinct = tuple(dict.fromkeys(ran_by.values()))
    with np.errstate(all="ignore"):
        parts = [
            _call(node, kernel, [None if f is None else f[start : start + step] for f in feeds], distinct, merged > 0)
            for start in range(0, count, step)
        ]
    stacks: dict[tuple[int, ...], Array] = {}  # what the runtimes share stays one array

    def stacked(k: int, i: int) -> Array:
        arrays = [part[k][i] for part in parts]
        same = tuple(map(id, arrays))
        if same not in stacks:
            stacks[same] = _stack(arrays, node)
        return stacks[same]

    outputs = {r: tuple(stacked(k, i) for i in range(len(operator.outputs))) for k, r in enumerate(distinct)}
    return {runtime: outputs[ran_by[runtime]] for runtime in runtimes}


def together(node: Node, kernel: Kernel, feeds: Sequence[Array | None]) -> int:
    """How many samples may share one call as a longer first axis; 0 when they must go one by one."""
    arrays = [array for array in feeds if array is not None]
    constants = [t for t, array in zip(node.inputs, feeds, strict=True) if t is not None and array is None]
    batched = kernel.batched(node) if callable(kernel.batched) else kernel.batched
    if not (batched and arrays):
        return 0
    rank = arrays[0].ndim - 1
    alike = all(a.ndim - 1 == rank and rank > 0 and a.shape[1] == 1 for a in arrays)
    fits = all(t.data is None or t.data.ndim <= rank for t in constants)
    if not (alike and fits and all(t.shape[:1] == (1,) for t in node.outputs)):
        return 0
    elements: int = sum(array[0].size for array in arrays) + sum(math.prod(t.shape) for t in node.outputs)
    blocked = kernel.shared and node.x.dtype in BLOCKED_TYPES
    return max(1, (BLOCKED_AT_ONCE if blocked else ELEMENTS_AT_ONCE) // max(1, elements))


def _call(
    node: Node, kernel: Kernel, feeds: Sequence[Array | None], runtimes: tuple[Runtime, ...], merged: bool
) -> list[tuple[Array, ...]]:
    """Outputs per runtime for these samples, which are one unless ``merged``; samples along axis 0."""
    arguments: list[Array | None] = []
    for tensor, feed in zip(node.inputs, feeds, strict=True):
        if feed is not None:
            arguments.append(feed[:, 0] if merged else feed[0])
        else:
            arguments.append(None if tensor is None else tensor.data)
    try:
        if kernel.shared:
            results = list(kernel.function(node, *arguments, runtimes=runtimes))
        else:
            results = [kernel.function(node, *arguments, runtime=runtime) for runtime in runtimes]
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise NoKernel(f"its tensors do not fit together here: {error}") from error
    outputs = [result if isinstance(result, tuple) else (result,) for result in results]
    with_samples = {id(y): y[:, None] if merged else y[None] for ys in outputs for y in ys}
    return [tuple(with_samples[id(y)] for y in ys) for ys in outputs]


def _stack(parts: list[Array], node: Node) -> Array:
    """The samples' arrays behind each other."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise NoKernel(f"the shape of {node.y.name!r} depends on the data")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
