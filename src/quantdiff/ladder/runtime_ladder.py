"""The ladder between two runtimes of one file: whose curves, whose rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from quantdiff.bitwise import same_bits
from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model, Operator
from quantdiff.ladder.account import Account, LayerAccount, Target
from quantdiff.ladder.candidate_end import named
from quantdiff.ladder.explanation import Explanation, Frontier
from quantdiff.ladder.mechanisms import CURVES, REFERENCE, ROUNDING, RUNTIME
from quantdiff.ladder.runtime_frontier import SAMPLES, Between, frontier_between
from quantdiff.ladder.targets import OutputGrids, ends_of_file
from quantdiff.load.data import Batch
from quantdiff.progress import Progress, silent
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading, disturbed, read_tensors, readable_tensors
from quantdiff.run.runner import Runner
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.resources import keeps_resources
from quantdiff.sim.graph.simulator import Simulation, simulate, simulate_by
from quantdiff.sim.node import NoKernel, node_of
from quantdiff.sim.real.registry import real_of

RUNGS = (REFERENCE, CURVES, ROUNDING, RUNTIME)


@dataclass(slots=True)
class Sums:
    """What is added up while the data pass by; ``changed`` outputs are others because inner values were read."""

    outputs: Account
    layers: dict[int, LayerAccount]
    closed_reference: bool = True
    closed_candidate: bool = True
    changed: int = 0
    samples: int = 0
    frontier: Frontier | None = None


def explain_runtimes(
    model: Model,
    batch: Batch,
    processes: tuple[Runner, Runner],
    tolerance: float,
    progress: Progress = silent,
) -> Explanation:
    """Account for every output that the second runtime gives otherwise than the first.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: a runtime refuses the model, crashes or hangs.
    """
    first, second = (process.runtime for process in processes)
    rules = [process.rules for process in processes]
    lacking = tuple(f"rules for {each.runtime}" for each, its in zip(processes, rules, strict=True) if its is None)
    both = None if rules[0] is None or rules[1] is None else (rules[0], rules[1])
    sums, missing = Sums(Account(RUNGS), {}), lacking
    left, right = (
        read_tensors(model, readable_tensors(model.main, its, process.holds(model.main)), batch, process)
        for its, process in zip(rules, processes, strict=True)
    )
    with closing(left), closing(right):
        for ours, theirs in zip(left, right, strict=True):
            missing = lacking + _add(model, both, sums, (ours, theirs), tolerance)
            progress(f"explain {second}", sums.samples, len(batch))
    if not sums.samples:
        raise BadData(f"{batch.source}: no samples; nothing can be explained")
    return Explanation(
        reference=f"tflite:{first}",
        candidate=f"tflite:{second}",
        runtime=second,
        count=sums.outputs.count,
        samples=sums.samples,
        differing=sums.outputs.differing,
        closed_reference=sums.closed_reference and not missing,
        closed_candidate=sums.closed_candidate and not missing,
        rungs=sums.outputs.rungs(),
        unexplained=sums.outputs.resolved[-1],
        differences=tuple(sums.outputs.listed),
        layers=tuple(each.value() for each in sums.layers.values()),
        unsupported=missing,
        frontier=sums.frontier,
        notes=(*disturbed(sums.changed), *(note for process in processes for note in process.notes)),
    )


def _add(
    model: Model,
    runtimes: tuple[Rules, Rules] | None,
    sums: Sums,
    readings: tuple[Reading, Reading],
    tolerance: float,
) -> tuple[str, ...]:
    """One slice; gives the operators that the simulator lacks. Without both runtimes' rules it is left aside."""
    graph, (ours, theirs) = model.main, readings
    ends = ends_of_file(graph, range(len(graph.outputs)), tolerance)
    chains = _chains(model, ours.inputs, runtimes) if runtimes else {}
    missing = [item for chain in chains.values() for item in chain.missing]
    own, last = (ends.of_file(graph, r.values) for r in readings)
    found = {REFERENCE: own, CURVES: own, ROUNDING: own, RUNTIME: last}
    if chains and not missing:
        found |= {m: ends.of_file(graph, chain.values) for m, chain in chains.items()}
        for name, chain, reading in (("closed_reference", REFERENCE, ours), ("closed_candidate", ROUNDING, theirs)):
            same = all(same_bits(chains[chain].values[i], reading.values[i]) for i in graph.outputs)
            setattr(sums, name, getattr(sums, name) and same)
        if runtimes and sums.frontier is None and not keeps_resources(graph):
            sums.frontier = _taken_apart(model, ends, runtimes[0], readings)
    targets = ends.targets(theirs.outputs)
    sums.outputs.add(targets, [found[m] for m in RUNGS], theirs.start, len(theirs.rows))
    sums.changed += ours.changed + theirs.changed
    sums.samples += len(theirs.rows)
    _layers(model, runtimes, sums, readings, chains)
    return named(missing)


def _taken_apart(model: Model, ends: OutputGrids, rules: Rules, readings: tuple[Reading, Reading]) -> Frontier | None:
    """The frontier of the first samples; None where nothing differs in them."""
    ours, theirs = readings
    inputs = [array[:SAMPLES] for array in theirs.inputs]
    recorded = {i: array[:SAMPLES] for i, array in theirs.values.items() if len(array) == len(theirs.inputs[0])}
    return frontier_between(Between(model, ends, rules, inputs, recorded), [y[:SAMPLES] for y in ours.outputs])


def _chains(model: Model, inputs: Sequence[Array], runtimes: tuple[Rules, Rules]) -> dict[str, Simulation]:
    return {
        REFERENCE: simulate(model.main, inputs, runtimes[0], model.subgraphs),
        CURVES: _with_curves_of(model, inputs, runtimes),
        ROUNDING: simulate(model.main, inputs, runtimes[1], model.subgraphs),
    }


def _with_curves_of(model: Model, inputs: Sequence[Array], runtimes: tuple[Rules, Rules]) -> Simulation:
    """The first runtime's chain with the second one's curves; state is left to the first."""
    graph = model.main
    if keeps_resources(graph):
        return simulate(graph, inputs, runtimes[0], model.subgraphs)
    return simulate_by(partial(_either, graph, runtimes), graph, inputs, runtimes[0])


def _either(
    graph: Graph, runtimes: tuple[Rules, Rules], operator: Operator, values: Mapping[int, Array]
) -> tuple[Array, ...]:
    real = real_of(node_of(graph, operator))
    return run_operator(graph, operator, values, runtimes[real is not None and real.curve])


def _layers(
    model: Model,
    runtimes: tuple[Rules, Rules] | None,
    sums: Sums,
    readings: tuple[Reading, Reading],
    chains: Mapping[str, Simulation],
) -> None:
    """Every operator with integers at its output: as it comes, and the first runtime's fed with the second's input."""
    graph, (ours, theirs) = model.main, readings
    given = {**dict(zip(graph.inputs, theirs.inputs, strict=True)), **theirs.values}
    for operator in graph.operators:
        index = next(iter(operator.outputs), None)  # what sets variables up gives nothing
        if index not in ours.values or index not in theirs.values or theirs.values[index].dtype.kind not in "iu":
            continue
        tensor = graph.tensors[index]
        account = sums.layers.setdefault(index, LayerAccount(tensor.label, tensor.label, operator.op, len(RUNGS)))
        simulated = ((RUNGS.index(rung), chain.values) for rung, chain in chains.items())
        whole = {r: values[index] for r, values in simulated if index in values}
        whole[0] = ours.values[index]
        own = _own(graph, operator, given, runtimes) if runtimes else {}
        account.add(Target(theirs.values[index].reshape(-1)), whole, own)


def _own(
    graph: Graph, operator: Operator, given: Mapping[int, Array], runtimes: tuple[Rules, Rules]
) -> dict[int, Array]:
    try:
        y = run_operator(graph, operator, given, runtimes[0])[0]
        return {0: y, 1: _either(graph, runtimes, operator, given)[0]}
    except (NoKernel, KeyError):
        return {}
