"""The frontier between two runtimes of one file: tensors of the second up to an operator, rules of the first behind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.graph import Graph, Model, Operator
from quantdiff.ladder.explanation import Frontier, Item
from quantdiff.ladder.frontier import beside
from quantdiff.ladder.mechanisms import CURVES, ROUNDING
from quantdiff.ladder.targets import OutputGrids
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.simulator import simulate_by
from quantdiff.sim.node import node_of
from quantdiff.sim.real.registry import real_of

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
