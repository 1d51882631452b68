"""The lower rungs: the file in the simulator, from real arithmetic on its integers to the runtime's own rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantdiff.explain.explanation import CURVES, EXACT, ROUNDING
from quantdiff.graph import Model, Operator
from quantdiff.quant import Array
from quantdiff.run.ideal import all_but_curves, curves_alone, everything, has_curves, run_ideal, simulate_ideal
from quantdiff.run.simulator import Simulation, simulate
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

CHOICES = {EXACT: everything, CURVES: all_but_curves}


@dataclass(frozen=True, slots=True)
class Chains:
    """Every tensor at each of the simulator's rungs, samples along axis 0, and with the curves alone made real."""

    rungs: Mapping[str, Mapping[int, Array]]
    real_curves: Mapping[int, Array] | None
    missing: tuple[str, ...]


def chains(model: Model, inputs: Sequence[Array], runtime: Runtime) -> Chains:
    """The whole graph at each rung. Shapes: each input (samples, *shape of the model's input)."""
    graph, subgraphs, curved = model.main, model.subgraphs, has_curves(model.main)
    exact = simulate_ideal(graph, inputs, runtime, everything, subgraphs)
    mixed = simulate_ideal(graph, inputs, runtime, all_but_curves, subgraphs) if curved else exact
    whole = simulate(graph, inputs, runtime, subgraphs)
    real_curves = simulate_ideal(graph, inputs, runtime, curves_alone, subgraphs).values if curved else None
    rungs = {EXACT: exact.values, CURVES: mixed.values, ROUNDING: whole.values}
    return Chains(rungs, real_curves, _missing(whole))


def local(model: Model, operator: Operator, values: Mapping[int, Array], runtime: Runtime) -> dict[str, Array]:
    """One operator's first output at the rungs above ``rounding``, fed with the runtime's own input."""
    found = {}
    for mechanism, choice in CHOICES.items():
        try:
            found[mechanism] = run_ideal(model.main, operator, values, runtime=runtime, choice=choice)[0]
        except (NoKernel, KeyError):
            break
    return found


def _missing(simulation: Simulation) -> tuple[str, ...]:
    return tuple(f"operator {item.index} {item.op}: {item.why}" for item in simulation.missing)
