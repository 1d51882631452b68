"""The lower rungs: the file in the simulator, from real arithmetic on its integers to the runtime's own rounding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from quantdiff.bitwise import same_bits
from quantdiff.graph import Graph, Model, Operator
from quantdiff.ladder.explanation import CURVES, EXACT, ROUNDING
from quantdiff.quant import Array
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.real_arithmetic import (
    all_but_curves,
    curves_alone,
    everything,
    has_curves,
    run_ideal,
    simulate_ideal,
)
from quantdiff.sim.graph.resources import keeps_resources
from quantdiff.sim.graph.simulator import Missing, Simulation, simulate, simulate_by
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

CHOICES = {EXACT: everything, CURVES: all_but_curves}


@dataclass(frozen=True, slots=True)
class Chains:
    """Every tensor at each of the simulator's rungs, samples along axis 0, and with the curves alone made real."""

    rungs: Mapping[str, Mapping[int, Array]]
    real_curves: Mapping[int, Array] | None
    missing: tuple[str, ...]
    borrowed: tuple[str, ...] = ()


def chains(
    model: Model, inputs: Sequence[Array], runtime: Runtime, recorded: Mapping[int, Array] | None = None
) -> Chains:
    """The whole graph at each rung. Shapes: each input (samples, *shape of the model's input).

    ``recorded`` are the runtime's own tensors. Where the simulator lacks an operator and its chain arrives there with
    the runtime's own bits, what the runtime made of them is taken: the account goes on behind it.
    """
    graph, subgraphs, curved = model.main, model.subgraphs, has_curves(model.main)
    exact = simulate_ideal(graph, inputs, runtime, everything, subgraphs)
    mixed = simulate_ideal(graph, inputs, runtime, all_but_curves, subgraphs) if curved else exact
    whole, borrowed = _whole(model, inputs, runtime, recorded or {})
    real_curves = simulate_ideal(graph, inputs, runtime, curves_alone, subgraphs).values if curved else None
    missing = {item.index: item for chain in (exact, mixed, whole) for item in chain.missing}
    complete = real_curves if real_curves is not None and all(i in real_curves for i in graph.outputs) else None
    rungs = {EXACT: exact.values, CURVES: mixed.values, ROUNDING: whole.values}
    return Chains(rungs, complete, named(missing.values()), borrowed)


def _whole(
    model: Model, inputs: Sequence[Array], runtime: Runtime, recorded: Mapping[int, Array]
) -> tuple[Simulation, tuple[str, ...]]:
    """The runtime's chain, and the operators whose results were taken from the runtime."""
    graph, borrowed = model.main, list[str]()
    if keeps_resources(graph):
        return simulate(graph, inputs, runtime, model.subgraphs), ()
    given = {**dict(zip(graph.inputs, inputs, strict=True)), **recorded}

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        try:
            return run_operator(graph, operator, values, runtime)
        except NoKernel:
            fed = [i for i in operator.inputs if i in values]
            known = all(i in given for i in (*fed, *operator.outputs))
            if not (fed and known and all(same_bits(values[i], given[i]) for i in fed)):
                raise
            borrowed.append(f"operator {operator.index} {operator.op}")
            return tuple(given[i] for i in operator.outputs)

    return simulate_by(operate, graph, inputs, runtime), tuple(borrowed)


def local(
    model: Model, operators: Sequence[Operator], values: Mapping[int, Array], runtime: Runtime
) -> dict[str, Array]:
    """What a layer's operators give in the end at the rungs above ``rounding``, fed with the runtime's own input."""
    found = {}
    for mechanism, choice in CHOICES.items():
        seen = dict(values)
        try:
            for operator in operators:
                made = run_ideal(model.main, operator, seen, runtime=runtime, choice=choice)
                seen.update(zip(operator.outputs, made, strict=True))
        except (NoKernel, KeyError):
            break
        found[mechanism] = seen[operators[-1].outputs[0]]
    return found


def operators_between(graph: Graph, known: AbstractSet[int], tensor: int) -> list[Operator]:
    """The operators that make ``tensor`` out of tensors that are ``known``, in their order; itself aside."""
    wanted, found = {tensor}, list[Operator]()
    for operator in reversed(graph.operators):
        if wanted & set(operator.outputs):
            found.insert(0, operator)
            wanted |= set(operator.inputs) - known
    return found


def named(missing: Iterable[Missing]) -> tuple[str, ...]:
    """Operators without a kernel, each once, in words."""
    return tuple(dict.fromkeys(f"operator {item.index} {item.op}: {item.why}" for item in missing))
