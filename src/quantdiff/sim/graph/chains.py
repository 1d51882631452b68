"""Several runtimes at once: what they have in common is computed once.

Accumulators do not depend on the runtime. So runtimes that hold the same bits share them: a chain until its first
difference in rounding (``simulate_each``), every operator when all are fed alike (``compare_rounding``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from quantdiff.graph import STATE, Graph, Operator, keeps_resources
from quantdiff.quant import Array, differing, shared
from quantdiff.sim.device import Device, Rules
from quantdiff.sim.graph.operators import Outputs, compare_operator_on_each, run_operator, run_operator_on_each
from quantdiff.sim.graph.simulator import CONTROL, Missing, Simulation, missing_inputs, run_control, simulate
from quantdiff.sim.node import NoKernel

Outcome = Outputs | Missing
Known = Mapping[tuple[int, Rules], tuple[tuple[Array | None, ...], Outcome]]
"""By operator and runtime: the very arrays that were fed, and what came out."""
NOTHING: Known = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RoundingResult:
    """One operator on one input: how many elements each runtime gives otherwise than the first one."""

    index: int
    op: str
    count: int
    differing: Mapping[Rules, int]


def simulate_each(
    graph: Graph,
    inputs: Sequence[Array],
    runtimes: Sequence[Rules],
    subgraphs: Sequence[Graph] = (),
    known: Known = NOTHING,
) -> dict[Rules, Simulation]:
    """The whole chain on every runtime; equal tensors are one array, unless there are resource variables.

    Shapes: each input (samples, *shape of the model's input). ``subgraphs`` are those of the model, for CALL_ONCE.
    What is ``known`` for the very arrays that a chain holds is not computed again.
    """
    if keeps_resources(graph):
        return {runtime: simulate(graph, inputs, runtime, subgraphs) for runtime in runtimes}
    values = {runtime: dict(zip(graph.inputs, inputs, strict=True)) for runtime in runtimes}
    missing: dict[Rules, list[Missing]] = {runtime: [] for runtime in runtimes}
    skipped: dict[Rules, list[int]] = {runtime: [] for runtime in runtimes}
    for operator in graph.operators:
        for group in fed_alike(operator, values):
            held = values[group[0]]
            if missing_inputs(graph, operator, held):
                for runtime in group:
                    skipped[runtime].append(operator.index)
                continue
            for runtime, outcome in recalled(graph, operator, held, group, known, subgraphs).items():
                if isinstance(outcome, Missing):
                    missing[runtime].append(outcome)
                else:
                    values[runtime].update(zip(operator.outputs, outcome, strict=True))
    return {r: Simulation(r, values[r], tuple(missing[r]), tuple(skipped[r])) for r in runtimes}


def fed_alike(operator: Operator, values: Mapping[Rules, Mapping[int, Array]]) -> list[tuple[Rules, ...]]:
    """Runtimes in groups that hold the very same arrays for this operator."""
    groups: dict[tuple[int, ...], list[Rules]] = {}
    for runtime, held in values.items():
        groups.setdefault(tuple(map(id, fed_to(operator, held))), []).append(runtime)
    return [tuple(group) for group in groups.values()]


def fed_to(operator: Operator, held: Mapping[int, Array]) -> tuple[Array | None, ...]:
    """The arrays that the operator reads, None where it reads no activation."""
    return tuple(held.get(i) for i in operator.inputs)


def recalled(
    graph: Graph,
    operator: Operator,
    held: Mapping[int, Array],
    group: Sequence[Rules],
    known: Known,
    subgraphs: Sequence[Graph] = (),
) -> dict[Rules, Outcome]:
    """The outputs per runtime, computed only where they are not known for these very arrays."""
    fed, found = fed_to(operator, held), dict[Rules, Outcome]()
    for runtime in group:
        before, outcome = known.get((operator.index, runtime), ((), None))
        if outcome is not None and all(a is b for a, b in zip(before, fed, strict=True)):
            found[runtime] = outcome
    left = tuple(runtime for runtime in group if runtime not in found)
    return found | (united(attempt(graph, operator, held, left, subgraphs)) if left else {})


def attempt(
    graph: Graph,
    operator: Operator,
    values: Mapping[int, Array],
    runtimes: Sequence[Rules],
    subgraphs: Sequence[Graph] = (),
) -> dict[Rules, Outcome]:
    """The outputs per runtime; one without a kernel does not stop the others."""
    devices = tuple(each for each in runtimes if isinstance(each, Device))
    plain = tuple(each for each in runtimes if not isinstance(each, Device))
    if devices and plain:
        found = attempt(graph, operator, values, plain, subgraphs)
        return found | attempt(graph, operator, values, devices, subgraphs)
    try:
        if operator.op in CONTROL:
            return {r: run_control(graph, operator, values, r, subgraphs) for r in runtimes}
        if devices:
            return {device: run_operator(graph, operator, values, device) for device in devices}
        return {r: y for r, y in run_operator_on_each(graph, operator, values, plain).items()}  # noqa: C416 (of wider keys)
    except NoKernel as error:
        if len(runtimes) == 1:
            return {runtimes[0]: Missing(operator.index, operator.op, str(error))}
    alone = [attempt(graph, operator, values, (runtime,), subgraphs) for runtime in runtimes]
    return {runtime: outcome for outcomes in alone for runtime, outcome in outcomes.items()}


def united(outcomes: Mapping[Rules, Outcome]) -> dict[Rules, Outcome]:
    """The same outputs, with one array for all that hold the same bits."""
    given = {runtime: outcome for runtime, outcome in outcomes.items() if not isinstance(outcome, Missing)}
    arrays = iter(shared(y for outputs in given.values() for y in outputs))
    return {**outcomes, **{runtime: tuple(next(arrays) for _ in outputs) for runtime, outputs in given.items()}}


def compare_rounding(
    graph: Graph, inputs: Sequence[Array], runtimes: Sequence[Rules], subgraphs: Sequence[Graph] = ()
) -> tuple[tuple[RoundingResult, ...], Simulation]:
    """Every operator on the tensors of the first runtime: where does rounding alone tell the runtimes apart?

    Returns the results of the operators that every runtime has, and the first runtime's chain. What only keeps
    a state rounds nothing, and has no result.
    """
    results: list[RoundingResult] = []
    values, missing, skipped = dict(zip(graph.inputs, inputs, strict=True)), list[Missing](), list[int]()
    if keeps_resources(graph):
        chain = simulate(graph, inputs, runtimes[0], subgraphs)
        values, missing = dict(chain.values), [item for item in chain.missing if item.op in STATE]
    for operator in graph.operators:
        if missing_inputs(graph, operator, values):
            skipped.append(operator.index)
            continue
        if operator.op in STATE:
            continue
        outputs, found = compare_operator(graph, operator, values, runtimes)
        values.update(zip(operator.outputs, outputs, strict=bool(outputs)))
        if isinstance(found, Missing):
            missing.append(found)
        else:
            results.append(found)
    return tuple(results), Simulation(runtimes[0], values, tuple(missing), tuple(skipped))


def compare_operator(
    graph: Graph, operator: Operator, values: Mapping[int, Array], runtimes: Sequence[Rules]
) -> tuple[Outputs, RoundingResult | Missing]:
    """The outputs of the first runtime, none where it has no kernel, and how the others differ from them."""
    plain = [each for each in runtimes if not isinstance(each, Device)]
    try:
        if len(plain) == len(runtimes):
            outputs, apart = compare_operator_on_each(graph, operator, values, plain)
            count = sum(y.size for y in outputs)
            return outputs, RoundingResult(operator.index, operator.op, count, {r: n for r, n in apart.items()})  # noqa: C416
    except NoKernel:
        pass
    outcomes = attempt(graph, operator, values, runtimes)
    lacking = [outcome for outcome in outcomes.values() if isinstance(outcome, Missing)]
    first = outcomes[runtimes[0]]
    given = () if isinstance(first, Missing) else first
    if lacking:
        return given, lacking[0]
    others = {r: sum(map(differing, given, y)) for r, y in outcomes.items() if not isinstance(y, Missing)}
    return given, RoundingResult(operator.index, operator.op, sum(y.size for y in given), others)
