"""Cures for the operators that matter, predicted on the bench: what would become of the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.compare.comparison import Comparison
from quantdiff.ladder.advice.bench import Bench
from quantdiff.ladder.advice.choices import Plan, from_data, made, per_channel, wide
from quantdiff.ladder.attribution import Attribution, named
from quantdiff.ladder.findings import Advice, Quality
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.mechanisms import BIAS, CLIPPING, INPUT, KERNEL, RANGES, STEPS, WEIGHTS
from quantdiff.ladder.switches import Switches
from quantdiff.ladder.targets import OutputGrids, trace_of_file
from quantdiff.load.data import Batch
from quantdiff.quant import Array
from quantdiff.references.tflite.reference import DEFAULT
from quantdiff.run.in_process import started
from quantdiff.run.tflite import inputs_of
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime
from quantdiff.trace import Trace

MOST, WORTH = 5, 0.05
"""Items that are tried, and the share from which one is."""
BETTER_DB, LESS = 0.02, 0.995
"""What counts as better: in dB of stored outputs, as a part of the error before the output's grid."""


@dataclass(frozen=True, slots=True)
class Few:
    """The samples on which cures are predicted: what the reference and the file gave, and under which ``rules``.

    ``bare``: the outputs of the reference's graph without its own output grids, in the file's order. Shapes: (samples,
    elements).
    """

    rows: Batch
    reference: Trace
    candidate: Trace
    bare: Sequence[Array]
    rules: Rules | None


def cures(
    switches: Switches, few: Few, attribution: Attribution, grids: OutputGrids, timeout: float
) -> tuple[Advice, ...]:
    """What helps against the items with the largest shares, the best first; and what would be worse, said so.

    Raises:
        BadModel: the file's graph cannot be written in floats.
        RuntimeFailed: it does not run so.
    """
    power = sum(attribution.whole)
    shares = {move: sum(each.with_whole) / power for move, each in attribution.sums.items() if move.tensor >= 0 < power}
    leading = sorted((m for m in shares if shares[m] >= WORTH), key=lambda m: -shares[m])[:MOST]
    tried = dict[str, tuple[Move, Plan]]()
    for move in leading:
        for change, plan in _tried(switches, attribution, move):
            tried.setdefault(change, (move, plan))
    worst = min(shares, key=lambda m: shares[m], default=None)
    back = _without(switches, worst) if worst is not None and shares[worst] <= -WORTH else None
    if not tried and back is None:
        return ()
    plans = [made(switches, ()), *(plan for _, plan in tried.values()), *([back] if back is not None else [])]
    with started(DEFAULT, timeout, reused=True) as trials:
        bench = Bench(switches, switches.model.whole(), few.rows, few.reference, few.candidate, trials, grids.tolerance)
        now, *then = _qualities(bench, plans, few.bare, grids.units)
        found = [
            _advice(move.mechanism, change, now, quality, few)
            for (change, (move, _)), quality in zip(tried.items(), then, strict=False)
        ]
        if any(move.mechanism == KERNEL for move in leading):
            found += _elsewhere(bench, few)
    told = []
    if worst is not None and back is not None and (then[-1].rms_steps or 0.0) > (now.rms_steps or 0.0):
        name = f"{_name(switches, worst)} in float"
        note = "its error cancels that of others: this makes it worse"
        told.append(replace(_advice(worst.mechanism, name, now, then[-1], few), note=note))
    return (*sorted(filter(_helps, found), key=_left), *told)


def _qualities(bench: Bench, plans: Sequence[Plan], bare: Sequence[Array], units: Sequence[float]) -> Iterator[Quality]:
    """Of the outputs under each plan, on their own grids and before them."""
    ends = {i for i in bench.switches.ends if i is not None}
    opened = [replace(plan, grids={i: grid for i, grid in plan.grids.items() if i not in ends}) for plan in plans]
    traces = bench.traces([each for pair in zip(plans, opened, strict=True) for each in pair])
    for stored, before in zip(traces, traces, strict=True):
        error = beside([y.array for y in before.outputs], units, len(bare[0])) - beside(bare, units, len(bare[0]))
        yield replace(_quality(bench.compared(stored)), rms_steps=math.sqrt(float(np.square(error).mean())))


def _quality(comparison: Comparison) -> Quality:
    """What differs is another integer; of floats without a grid what is farther than the tolerance."""
    each, whole = [output.figures for output in comparison.outputs], comparison.figures
    differing = sum(round(f.not_close * f.count) if f.differing is None else f.differing for f in each)
    return Quality(differing, whole.sqnr_db, whole.top1_agreement)


def _helps(advice: Advice) -> bool:
    if advice.now is None or advice.then is None:
        return False
    if advice.now.rms_steps is None or advice.then.rms_steps is None:
        return advice.then.sqnr_db > advice.now.sqnr_db + BETTER_DB
    return advice.then.rms_steps < advice.now.rms_steps * LESS


def _left(advice: Advice) -> float:
    """What is left of the error, by which cures are sorted; those on other runtimes come last."""
    return math.inf if advice.then is None or advice.then.rms_steps is None else advice.then.rms_steps


def _advice(mechanism: str, change: str, now: Quality, then: Quality, few: Few) -> Advice:
    return Advice(mechanism, change, now.differing, then.differing, "", len(few.rows), now, then)


def _tried(switches: Switches, attribution: Attribution, move: Move) -> Iterator[tuple[str, Plan]]:
    name, plan, filed = _name(switches, move), _without(switches, move), made(switches, ())
    if plan is None:
        return
    words = {WEIGHTS: "kernel in float", BIAS: "biases on the int32 grid already in the reference"}
    yield f"{name}: {words.get(move.mechanism, 'its output in float')}", plan
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        met, held = attribution.met.get(move.tensor), switches.file.grids[move.tensor]
        grids = {"its output in int16": wide(met or held.ends)}
        if met is not None and move.mechanism != STEPS:
            grids["range from this data"] = from_data(met, held)
        for change, grid in grids.items():
            yield f"{name}: {change}", replace(filed, grids={**filed.grids, move.tensor: grid})
    maker = switches.file.graph.producer(move.tensor)
    if move.mechanism == WEIGHTS and maker is not None and (finer := per_channel(switches, maker)):
        yield f"{name}: a scale per channel", replace(filed, constants=finer)


def _without(switches: Switches, move: Move) -> Plan | None:
    """The file with one item taken back."""
    filed = made(switches, ())
    if move.mechanism in (WEIGHTS, BIAS):
        operator = switches.file.graph.producer(move.tensor)
        tensors = operator.inputs if operator is not None else ()
        own = {i: m.value for i in tensors if (m := switches.matches.get(i)) is not None and m.value is not None}
        return replace(filed, constants={i: v for i, v in own.items() if switches.mechanism(i) == move.mechanism})
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        kept = {i: grid for i, grid in filed.grids.items() if i != move.tensor}
        return replace(filed, grids=kept, own={i: g for i, g in switches.own.items() if i == move.tensor})
    return None


def _elsewhere(bench: Bench, few: Few) -> Iterator[Advice]:
    """The file on other runtimes, all in the simulator."""
    model = bench.switches.model
    found = {}
    on = few.rules if isinstance(few.rules, Runtime) else Runtime.REFERENCE
    for each in on.neighbours:
        chain = simulate(model.main, inputs_of(model, few.rows), each, model.subgraphs)
        if not chain.missing:
            outputs = [chain.values[i] for i in model.main.outputs]
            found[each] = _quality(bench.compared(trace_of_file(model, outputs, few.reference, each.value)))
    now = found.pop(on, None) if on is few.rules else None
    if now is None:
        return
    for other, then in found.items():
        yield _advice(KERNEL, f"runtime {other.value}", now, then, few)


def _name(switches: Switches, move: Move) -> str:
    operator, op, layer, tensor, _ = named(switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"
