"""Advice that was tried: the change that removes a leading mechanism, made on a copy and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.explain.account import Target
from quantdiff.explain.explanation import BIAS, CURVES, RANGES, ROUNDING, WEIGHTS, Advice, Explanation, LayerLadder
from quantdiff.explain.reference_end import Passes
from quantdiff.explain.targets import Ends
from quantdiff.graph import Model, Operator
from quantdiff.load.data import Batch
from quantdiff.quant import Array
from quantdiff.run.operators import run_operator
from quantdiff.run.resources import keeps_resources
from quantdiff.run.simulator import simulate, simulate_by
from quantdiff.run.tflite import inputs_of
from quantdiff.sim.runtime import Runtime

WORTH = 0.05
"""Share of the differing outputs that a mechanism must explain before its cure is tried."""
CURED_ALONE = {BIAS: "biases on the int32 grid", RANGES: "the activation ranges of the file in the reference"}


@dataclass(frozen=True, slots=True)
class Copy:
    """Where changes are tried: the reference as it is, the file, and how their outputs are held together."""

    passes: Passes
    model: Model
    ends: Ends
    runtime: Runtime


def advise(explanation: Explanation, slices: Iterator[Copy]) -> tuple[Advice, ...]:
    """What helps against the mechanisms that lead, the best first; nothing where no change helps.

    ``slices`` go over the data once more; they are not touched unless a change has to be run.
    """
    worth = WORTH * explanation.differing
    leading = [rung.mechanism for rung in explanation.rungs if rung.resolved > worth]
    found = [
        Advice(mechanism, CURED_ALONE[mechanism], explanation.differing, rung.alone)
        for mechanism in leading
        if mechanism in CURED_ALONE and (rung := explanation.find(mechanism)) and rung.alone is not None
    ]
    trials = {}
    if {ROUNDING, CURVES} & {*leading}:
        trials = {f"on {other.value}": partial(_on_runtime, other) for other in Runtime if other.value != explanation.runtime}
    worst = _worst_layer(explanation)
    if worst is not None and {WEIGHTS, ROUNDING, RANGES} & {*leading}:
        trials[f"{worst.layer} computed in float"] = partial(_in_float, worst)
    if trials and not explanation.unsupported:
        found += _tried(explanation, trials, slices, ROUNDING if ROUNDING in leading else leading[0])
    return tuple(sorted((each for each in found if each.after < each.before), key=lambda each: each.after))


def _tried(explanation: Explanation, trials: Mapping[str, partial[list[Array] | None]], slices: Iterator[Copy], mechanism: str) -> list[Advice]:
    after: dict[str, int | None] = dict.fromkeys(trials, 0)
    for copy in slices:
        own = [Target(y.reshape(-1), copy.ends.tolerance if grid is None else None) for y, grid in zip(
            copy.ends.of_reference(copy.passes.run(()).outputs), copy.ends.grids, strict=True)]
        for change, trial in trials.items():
            outputs, so_far = trial(copy), after[change]
            if outputs is None or so_far is None:
                after[change] = None
                continue
            after[change] = so_far + sum(int(np.count_nonzero(t.wrong(y))) for t, y in zip(own, outputs, strict=True))
    simulated = "in the simulator"
    return [Advice(mechanism, change, explanation.differing, n, simulated) for change, n in after.items() if n is not None]


def _on_runtime(other: Runtime, copy: Copy) -> list[Array] | None:
    """The file's outputs on another runtime, installed or not; None where the simulator lacks an operator of it."""
    inputs = inputs_of(copy.model, copy.passes.rows)
    chain = simulate(copy.model.main, inputs, other, copy.model.subgraphs)
    return None if chain.missing else copy.ends.of_file(copy.model.main, chain.values)


def _in_float(layer: LayerLadder, copy: Copy) -> list[Array] | None:
    """The file's outputs with one layer computed as the reference does, from the integers that reach it.

    Only its output is rounded, to the grid that the next operator takes.
    """
    graph = copy.model.main
    tensor = next(t for t in graph.tensors if t.name == layer.tensor)
    maker = next((op for op in graph.operators if tensor.index in op.outputs), None)
    if maker is None or keeps_resources(graph):
        return None
    inputs = inputs_of(copy.model, copy.passes.rows)
    plain = simulate(graph, inputs, copy.runtime)
    force = {name: plain.values for name in ()}
    del force
    own = copy.passes.local(layer.layer, plain.values)
    if own is None or plain.missing:
        return None

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        if operator.index == maker.index:
            return (own.reshape(plain.values[tensor.index].shape),)
        return run_operator(graph, operator, values, copy.runtime)

    return copy.ends.of_file(graph, simulate_by(operate, graph, inputs, copy.runtime).values)


def _worst_layer(explanation: Explanation) -> LayerLadder | None:
    """The layer that makes most of its own elements differ, per element."""
    inner: Sequence[LayerLadder] = [layer for layer in explanation.layers if layer.local and layer.local[0]]
    return max(inner, key=lambda layer: layer.local[0] / layer.count, default=None)
