"""The ladder and the frontier between two runtimes of one file: whose curves, whose rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model, Operator, keeps_resources
from quantdiff.ladder.account import Account, LayerAccount
from quantdiff.ladder.explanation import CURVES, REFERENCE, ROUNDING, RUNTIME, Explanation, Frontier, Item
from quantdiff.ladder.frontier import beside
from quantdiff.ladder.rungs import OutputGrids, Target, ends_of_file, named
from quantdiff.load.data import Batch
from quantdiff.quant import Array, same_bits
from quantdiff.run.inner_tensors import Reading, disturbed, read_tensors, readable_tensors
from quantdiff.run.runner import Progress, Runner, silent
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.simulator import Simulation, simulate, simulate_by
from quantdiff.sim.node import NoKernel, node_of, real_of

SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Between:
    """Some samples as the second runtime has them, and the first one's rules. Shapes: (samples, *the tensor's)."""

    model: Model
    grids: OutputGrids
    rules: Rules
    inputs: Sequence[Array]
    recorded: Mapping[int, Array]

    def at(self, stage: int) -> Array:
        """The outputs with the frontier before an operator, in steps, side by side."""
        graph = self.model.main

        def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
            if operator.index < stage and all(i in self.recorded for i in operator.outputs):
                return tuple(self.recorded[i] for i in operator.outputs)
            return run_operator(graph, operator, values, self.rules)

        values = simulate_by(operate, graph, self.inputs, self.rules).values
        return beside([_real(graph, i, values[i]) for i in graph.outputs], self.grids.units, len(self.inputs[0]))


def frontier_between(between: Between, ours: Sequence[Array]) -> Frontier | None:
    """What each operator's other rounding changes; ``ours`` are the first runtime's outputs. None: nothing."""
    graph, count = between.model.main, len(between.model.main.operators)
    first, last = between.at(0), between.at(count)
    whole = last - first
    power, items = float(np.square(whole).sum()), list[Item]()
    if not power:
        return None
    for stage, change in _stretch(between, (0, count), (first, last)):
        operator, share = graph.operators[stage], float((change * whole).sum()) / power
        real, label = real_of(node_of(graph, operator)), graph.tensors[operator.outputs[0]].label
        mechanism = CURVES if real is not None and real.curve else ROUNDING
        its = float(np.square(change).sum())
        sizes = math.sqrt(its / whole.size), float(np.abs(change).max(initial=0))
        items.append(Item(stage, operator.op, label, label, mechanism, share, its / power, 0.0, *sizes))
    mechanisms = dict.fromkeys(item.mechanism for item in items)
    shares = {m: sum(item.share for item in items if item.mechanism == m) for m in mechanisms}
    powers = {m: sum(item.power for item in items if item.mechanism == m) for m in mechanisms}
    theirs = beside(
        [_real(graph, i, y) for i, y in zip(graph.outputs, ours, strict=True)], between.grids.units, len(first)
    )
    ordered = tuple(sorted(items, key=lambda item: -item.share))
    apart = float(np.abs(first - theirs).max(initial=0))
    return Frontier(len(first), math.sqrt(power / whole.size), shares, powers, ordered, 0.0, apart)


def _stretch(between: Between, stages: tuple[int, int], ends: tuple[Array, Array]) -> Iterator[tuple[int, Array]]:
    """The operators of a stretch that change anything, each with its change."""
    (low, high), (before, after) = stages, ends
    if not (before != after).any():
        return
    if high - low == 1:
        yield low, after - before
        return
    middle = (low + high) // 2
    at = between.at(middle)
    yield from _stretch(between, (low, middle), (before, at))
    yield from _stretch(between, (middle, high), (at, after))


def _real(graph: Graph, tensor: int, stored: Array) -> Array:
    grid = graph.tensors[tensor].grid
    if grid is None or stored.dtype.kind not in "iu":
        return stored.astype(np.float64)
    return np.asarray((stored.astype(np.float64) - grid.params.zero_point[0]) * float(np.float32(grid.params.scale[0])))


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
