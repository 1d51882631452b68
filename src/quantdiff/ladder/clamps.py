"""Activations that a grid performs: no RELU6, but integers that end at 0 and 6, as older converters write it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.folding import ACTIVATION
from quantdiff.ladder.lowered import Lowered
from quantdiff.ladder.real_graph import Grid, RealGraph
from quantdiff.ladder.streams import in_loops
from quantdiff.ops import CLAMPS, traits
from quantdiff.sim.node import ACTIVATION_RANGE

NONE = "NONE"


def with_clamps(file: RealGraph, reference: Lowered, pairs: Sequence[tuple[Operator, Operator]]) -> RealGraph:
    """The file's graph with the activations of the reference that its own grids perform: no integer is another one."""
    taken = {theirs.index for _, theirs in pairs}
    found = {ours.index: _performed(file, reference, ours, theirs, taken) for ours, theirs in pairs}
    if not any(found.values()):
        return file
    operators = tuple(
        replace(op, options={**op.options, ACTIVATION: found[op.index]}) if found.get(op.index) else op
        for op in file.graph.operators
    )
    graph = replace(file.graph, operators=operators)
    return replace(file, graph=graph, loops=in_loops(graph, file.folded))


def _performed(
    file: RealGraph, reference: Lowered, ours: Operator, theirs: Operator, taken: Container[int]
) -> str | None:
    """The activation that the reference has, fused or alone behind, and the file's operator only in its grid."""
    grid = file.grids.get(ours.outputs[0]) if len(ours.outputs) == 1 else None
    if grid is None or not traits(ours.op).fuses or ours.options.get(ACTIVATION, NONE) != NONE:
        return None
    own = str(theirs.options.get(ACTIVATION, NONE))
    if own == NONE:
        own = next((name for name in CLAMPS if _stands_behind(reference, theirs, name, taken)), NONE)
    return own if own in CLAMPS and performs(grid, own) else None


def _stands_behind(reference: Lowered, theirs: Operator, activation: str, taken: Container[int]) -> bool:
    behind = reference.clamp_behind(theirs.outputs[0], activation)
    maker = None if behind is None else reference.real.graph.producer(behind)
    return maker is not None and maker.index not in taken


def performs(grid: Grid, activation: str) -> bool:
    """Whether an activation in front of a grid changes none of its integers: its ends are at the grid's, or beyond."""
    low, high = (grid.steps(np.asarray(end)) + grid.zero_point for end in ACTIVATION_RANGE[activation])
    return bool(low <= grid.low and high >= grid.high)
