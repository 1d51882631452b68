"""From the sums over all data to the explanation.

Cures of outputs that the file cuts off are ranges that hold what the reference gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.ladder.advice.plans import FIXED, copies_of, defined, from_data, made, tried_on
from quantdiff.ladder.cures import BETTER_DB, advice_of, cures, name_of, on_the_graph, quality_of, stored_on, tries
from quantdiff.ladder.explanation import (
    GRAPH,
    KERNEL,
    OUTPUT_GRID,
    REAL,
    REWRITTEN,
    Advice,
    Closeness,
    Explanation,
    Frontier,
    Matched,
    Saturated,
)
from quantdiff.ladder.frontier import Move
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.rungs import OutputGrids
from quantdiff.ladder.set_up import Few, Ladder, Sums, wrong_weights
from quantdiff.ladder.switches import Switches, copied_from
from quantdiff.quant import Array, QuantParams, Trace
from quantdiff.run.inner_tensors import disturbed
from quantdiff.run.runner import Runner, started
from quantdiff.sim.node import is_hybrid, node_of

EXACT = 1e-9  # steps: what sums of doubles may lie apart
MATTERS = 0.05  # of the error
UNPROVEN = 4.0  # times the power of the error: twice its size
EXACT_CURES = "cures are predicted in exact arithmetic: variables, loops and branches are not written as another file"


def concluded(ladder: Ladder, sums: Sums, runtime: str, timeout: float) -> Explanation:
    """The explanation as a value; cures are tried on the ``runtime``, which may be silent for ``timeout`` seconds."""
    account, found = sums.outputs, ladder.switches
    frontier = sums.attribution.value() if sums.attribution is not None else None
    why = ladder.why or _unproven(frontier, sums.departs)
    if why:  # an account that closes under wrong names is worse than none
        found, frontier = None, None
    advice, untried = _cures(ladder, sums, runtime, timeout) if not why else ((), ())
    return Explanation(
        reference=ladder.question.kind,
        candidate=f"tflite:{runtime}",
        runtime=runtime,
        count=account.count,
        samples=sums.samples,
        differing=account.differing,
        closed_reference=frontier is not None and frontier.closes <= EXACT,
        closed_candidate=sums.closed and not sums.missing,
        rungs=account.rungs(),
        unexplained=account.resolved[-1],
        differences=tuple(account.listed),
        layers=tuple(each.value() for each in sums.layers.values()),
        wrong_weights=tuple(wrong_weights(found)) if found is not None else (),
        advice=advice,
        unaccounted=why,
        unsupported=sums.missing,
        notes=(
            *ladder.question.notes,
            *_borrowed(sums),
            *disturbed(sums.changed),
            *_dynamic(ladder, frontier),
            *_copied(found, frontier),
            *untried,
        ),
        frontier=frontier,
        matching=matching(found) if found is not None else (),
        real=_closeness(sums, REAL),
        rewritten=_closeness(sums, REWRITTEN),
        departs=sums.departs,
        saturated=_saturated(sums),
        signed=sums.signed,
    )


def _cures(ladder: Ladder, sums: Sums, runtime: str, timeout: float) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """What helps; and what could not be tried."""
    if ladder.switches is None or sums.few is None or sums.attribution is None:
        return (), ()
    try:
        with started(tried_on(runtime), timeout, reused=True) as trials:
            found, untried = cures(ladder.switches, sums.few, sums.attribution, ladder.grids, trials)
            ranges = [*output_ranges(ladder.switches, sums.few, ladder.grids, trials)]
        advice = (*(each for each in ranges if isinstance(each, Advice)), *found)
        exact = (EXACT_CURES,) if advice and on_the_graph(ladder.switches) else ()
        return advice, (*exact, *untried, *(each for each in ranges if isinstance(each, str)))
    except (BadModel, RuntimeFailed) as error:
        return (), (f"no cures: {error}",)


def _dynamic(ladder: Ladder, frontier: Frontier | None) -> tuple[str, ...]:
    """Where it matters that kernels round what they read."""
    if frontier is None or abs(frontier.shares.get(KERNEL, 0.0)) < MATTERS:
        return ()
    graph = ladder.question.model.main
    count = sum(
        is_hybrid(node_of(graph, op)) for op in graph.operators if len(op.inputs) > 1 and min(op.inputs[:2]) >= 0
    )
    if not count:
        return ()
    words = "operator rounds its" if count == 1 else "operators round their"
    return (
        f"dynamic range: {count} {words} float inputs to 8 bits in the kernel, which counts as the runtime's kernels",
    )


def _copied(found: Switches | None, frontier: Frontier | None) -> tuple[str, ...]:
    """Where it matters that a kernel copies integers between two grids: a fault of the file, alike on all runtimes."""
    if found is None or frontier is None:
        return ()
    items = [i for i in frontier.items if i.mechanism == KERNEL and i.share >= MATTERS and i.operator is not None]
    return tuple(
        f"{item.op} {item.operator} copies the integers of its input, of whose output the file says another grid: "
        "the converter's fault, which counts as the runtime's kernels"
        for item in items
        if any(copied_from(found, i) is not None for i in found.model.main.operators[item.operator or 0].outputs)
    )


def _unproven(frontier: Frontier | None, departs: str) -> str:
    """Why nothing that is exchanged can be believed: the two graphs lie farther apart than file and reference do."""
    if frontier is None or frontier.powers.get(GRAPH, 0.0) <= UNPROVEN:
        return ""
    return f"the file's graph with the reference's numbers is not the reference: {departs or 'its outputs differ'}"


def matching(switches: Switches) -> tuple[Matched, ...]:
    """How each constant was matched."""
    ours, theirs = switches.file.graph.tensors, switches.reference.real.graph.tensors
    return tuple(
        Matched(
            ours[i].label,
            None if match.other is None else theirs[match.other].label,
            match.how,
            match.steps if math.isfinite(match.steps) else None,
            match.order,
        )
        for i, match in switches.matches.items()
    )


def _closeness(sums: Sums, mechanism: str) -> Closeness | None:
    return Closeness(*sums.apart[mechanism]) if mechanism in sums.apart else None


def _saturated(sums: Sums) -> Saturated | None:
    beyond, count, farthest = sums.outside
    return Saturated(beyond / count, farthest) if count else None


def _borrowed(sums: Sums) -> tuple[str, ...]:
    if not sums.borrowed:
        return ()
    names = ", ".join(sums.borrowed)
    return (f"not simulated, so that the runtime's own results stand for its rung: {names}",)


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
