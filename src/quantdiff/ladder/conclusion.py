"""From the sums over all data to the explanation."""

from __future__ import annotations

import math

from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.ladder.advice.bench import tried_on
from quantdiff.ladder.cures import cures
from quantdiff.ladder.departure import wrong_weights
from quantdiff.ladder.explanation import Explanation, Frontier
from quantdiff.ladder.findings import Advice, Closeness, Matched, Saturated
from quantdiff.ladder.mechanisms import GRAPH, KERNEL, REAL, REWRITTEN
from quantdiff.ladder.output_ranges import output_ranges
from quantdiff.ladder.set_up import Ladder, Sums
from quantdiff.ladder.switches import Switches, copied_from
from quantdiff.ladder.tries import on_the_graph
from quantdiff.run.child import started
from quantdiff.run.inner_tensors import disturbed
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
