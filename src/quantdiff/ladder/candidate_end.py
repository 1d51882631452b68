"""The lower rungs: the file in the simulator, with exact sums and the runtime's curves, then with all its rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from quantdiff.graph import Model, Operator
from quantdiff.ladder.mechanisms import CURVES, ROUNDING
from quantdiff.ladder.slices import side_by_side
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.real_arithmetic import all_but_curves, simulate_ideal
from quantdiff.sim.graph.simulator import Missing, Simulation, run_stateless, simulate, simulate_by
from quantdiff.sim.node import NoKernel, keeps_resources
from quantdiff.trace import same_bits


@dataclass(frozen=True, slots=True)
class Chains:
    """Every tensor at each of the simulator's rungs, samples along axis 0.

    ``missing`` are operators that the simulator lacks, ``borrowed`` those whose results the runtime lent; both say why.
    """

    rungs: Mapping[str, Mapping[int, Array]]
    missing: tuple[str, ...]
    borrowed: tuple[str, ...] = ()


def chains(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array] | None = None
) -> Chains:
    """The whole graph at each rung. Shapes: each input (samples, *shape of the model's input).

    ``recorded`` are the runtime's own tensors. Where the simulator lacks an operator and its chain arrives there with
    the runtime's own bits, what the runtime made of them is taken: the account goes on behind it.
    """
    ideal = partial(simulate_ideal, model.main, inputs, runtime, all_but_curves, model.subgraphs)
    works: list[Callable[[], Any]] = [ideal, partial(_whole, model, inputs, runtime, recorded or {})]
    mixed, (whole, borrowed) = side_by_side(lambda work: work(), works)
    rungs = {ROUNDING: whole.values}
    if all(i in mixed.values for i in model.main.outputs):
        rungs[CURVES] = mixed.values
    return Chains(rungs, named(whole.missing), borrowed)


def _whole(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array]
) -> tuple[Simulation, tuple[str, ...]]:
    """The runtime's chain, and the operators whose results were taken from the runtime."""
    graph, borrowed = model.main, list[str]()
    if keeps_resources(graph):
        return simulate(graph, inputs, runtime, model.subgraphs), ()
    given = {**dict(zip(graph.inputs, inputs, strict=True)), **recorded}

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        try:
            return run_stateless(graph, model.subgraphs, runtime, None, operator, values)
        except NoKernel as error:
            fed = [i for i in operator.inputs if i in values]
            known = all(i in given for i in (*fed, *operator.outputs))
            if not (fed and known and all(same_bits(values[i], given[i]) for i in fed)):
                raise
            borrowed.append(f"operator {operator.index} {operator.op} ({error})")
            return tuple(given[i] for i in operator.outputs)

    return simulate_by(operate, graph, inputs, runtime), tuple(borrowed)


def named(missing: Iterable[Missing]) -> tuple[str, ...]:
    """Operators without a kernel, each once, in words."""
    return tuple(dict.fromkeys(f"operator {item.index} {item.op}: {item.why}" for item in missing))
