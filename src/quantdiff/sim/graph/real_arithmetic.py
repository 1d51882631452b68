"""The simulator with a runtime's own arithmetic taken out: operators in real numbers, each output to the nearest step.

Between a model in float and a runtime stand two such chains: one in which every operator is real, and one in which
curves (softmax, logistic, means) are approximated as the runtime does it and the rest still is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from quantdiff.graph import Graph, Operator
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator, run_operator_on_each
from quantdiff.sim.graph.simulator import CONTROL, Simulation, run_control, simulate, simulate_by
from quantdiff.sim.node import Kernel, keeps_resources, kernels, node_of
from quantdiff.sim.real.registry import Real, real_of
from quantdiff.sim.runtime import Runtime

Choice = Callable[[Real], bool]


def everything(real: Real) -> bool:
    """Every operator that has a real function."""
    del real
    return True


def all_but_curves(real: Real) -> bool:
    """Curves as the runtime approximates them, the rest real."""
    return not real.curve


def curves_alone(real: Real) -> bool:
    """Real curves in a chain that otherwise is the runtime's."""
    return real.curve


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


def run_ideal(
    graph: Graph, operator: Operator, values: Mapping[int, Array], *, runtime: Rules, choice: Choice
) -> tuple[Array, ...]:
    """One operator, given its input tensors with the samples along axis 0.

    Raises:
        NoKernel: neither a real function nor a kernel for this op and these types.
    """
    real = real_of(node_of(graph, operator))
    if real is None or not choice(real):
        return run_operator(graph, operator, values, runtime)
    own = kernels().get(operator.op)
    kernel = Kernel(real, own.batched if own else False, shared=False)
    anyone = Runtime.REFERENCE  # real numbers are the same on every runtime
    return run_operator_on_each(graph, operator, values, (anyone,), kernel)[anyone]


def has_curves(graph: Graph) -> bool:
    """True when some operator is a curve that runtimes approximate."""
    found = (real_of(node_of(graph, operator)) for operator in graph.operators)
    return any(real is not None and real.curve for real in found)
