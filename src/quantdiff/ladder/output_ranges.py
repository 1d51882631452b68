"""Cures of outputs that the file cuts off: a range that holds what the reference gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.ladder.advice.bench import defined
from quantdiff.ladder.advice.choices import FIXED, copies_of, from_data, made
from quantdiff.ladder.few import BETTER_DB, Few, advice_of, name_of, quality_of, stored_on
from quantdiff.ladder.findings import Advice
from quantdiff.ladder.frontier import Move
from quantdiff.ladder.mechanisms import OUTPUT_GRID
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.ladder.targets import OutputGrids
from quantdiff.ladder.tries import tries
from quantdiff.quant import Array, QuantParams
from quantdiff.run.runner import Runner
from quantdiff.trace import Trace

BEYOND = 1.0
"""Steps that an output must reach past the end of its grid."""


def output_ranges(switches: Switches, few: Few, grids: OutputGrids, trials: Runner) -> Iterator[Advice | str]:
    """The file with a range that holds these samples, for each output that is cut off; or why it was not tried."""
    now = quality_of([*map(stored_on, (v.array for v in few.candidate.outputs), grids.grids)], few, grids)
    for place, (end, bare) in enumerate(zip(switches.ends, few.bare, strict=True)):
        held = None if end is None else _cut_off(switches, end, bare)
        if end is None or held is None:
            continue
        wider = from_data((float(bare.min()), float(bare.max())), held)
        maker = switches.file.graph.producer(end)
        move = Move(None if maker is None else maker.index, end, OUTPUT_GRID)
        change = f"{name_of(switches, move)}: range of the output from this data"
        try:
            trace, after = _with(switches, (few, grids, trials), end, wider), _grids(grids, place, wider)
        except (BadModel, RuntimeFailed) as error:
            yield f"{change} could not be tried: {error}"
            continue
        if not defined(trace):
            continue
        then = quality_of([*map(stored_on, (v.real for v in trace.outputs), after.grids)], few, after)
        if then.sqnr_db > now.sqnr_db + BETTER_DB:
            yield advice_of(OUTPUT_GRID, change, now, then, few)


def _cut_off(switches: Switches, end: int, bare: Array) -> Grid | None:
    """The grid of an output that is cut off, where it is not its operator that says which one it has."""
    held, maker = switches.file.grids[end], switches.file.graph.producer(end)
    if not bare.size or maker is None or maker.op in FIXED:
        return None
    return held if np.abs(bare - held.clipped(bare)).max() > BEYOND * held.scale else None


def _with(switches: Switches, given: tuple[Few, OutputGrids, Runner], end: int, wider: Grid) -> Trace:
    """The file's outputs with another grid at one of them."""
    few, grids, trials = given
    filed = made(switches, ())
    plan = replace(filed, grids={**filed.grids, **dict.fromkeys(copies_of(switches, end), wider)})
    (trace,) = tries(switches, few, grids, [plan], trials)
    return trace


def _grids(grids: OutputGrids, place: int, wider: Grid) -> OutputGrids:
    """The outputs' grids with another one for the output at a place."""
    held = [*grids.grids]
    if (own := held[place]) is not None:
        held[place] = replace(own, params=QuantParams((wider.scale,), (wider.zero_point,)))
    return replace(grids, grids=tuple(held))
