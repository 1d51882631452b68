"""Cures for the operators that matter, plans of ``advise``: what would become of the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.compare.comparison import compare
from quantdiff.graph import Model
from quantdiff.ladder.advice.choices import Plan, from_data, made, per_channel, wide
from quantdiff.ladder.attribution import Attribution, named
from quantdiff.ladder.findings import Advice, Quality
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.mechanisms import BIAS, CLIPPING, INPUT, KERNEL, RANGES, STEPS, WEIGHTS
from quantdiff.ladder.rungs import in_slices, output_on_grid, real_inputs
from quantdiff.ladder.slices import by_run
from quantdiff.ladder.switches import Switches
from quantdiff.ladder.targets import OutputGrids
from quantdiff.load.data import Batch
from quantdiff.quant import Array
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


def cures(switches: Switches, few: Few, attribution: Attribution, grids: OutputGrids) -> tuple[Advice, ...]:
    """What helps against the items with the largest shares, the best first; and what would be worse, said so.

    In double, as the account: where a file follows its reference to a few integers, float32 would flip as many.
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
    kernels = any(move.mechanism == KERNEL for move in leading)
    if not (tried or kernels) and back is None:
        return ()
    plans = [made(switches, ()), *(plan for _, plan in tried.values()), *([back] if back is not None else [])]
    now, *then = (_quality(switches, few, grids, plan) for plan in plans)
    if now is None:
        return ()
    found = [
        _advice(move.mechanism, change, now, quality, few)
        for (change, (move, _)), quality in zip(tried.items(), then, strict=False)
        if quality is not None
    ]
    if kernels:
        found += _elsewhere(switches.model, few, grids)
    told, last = [], then[-1] if back is not None else None
    if worst is not None and last is not None and (last.rms_steps or 0.0) > (now.rms_steps or 0.0):
        name = f"{_name(switches, worst)} in float"
        note = "its error cancels that of others: this makes it worse"
        told.append(replace(_advice(worst.mechanism, name, now, last, few), note=note))
    return (*sorted(filter(_helps, found), key=_left), *told)


def _quality(switches: Switches, few: Few, grids: OutputGrids, plan: Plan) -> Quality | None:
    """Of the outputs under a plan, on their own grids and before them; None where they are undefined."""
    graph, runs = switches.file.graph, len(few.bare[0])
    setting = plan.in_double({i for i in switches.ends if i is not None})
    values = in_slices(switches.file, real_inputs(switches.model, few.rows), setting, graph.outputs)
    before = [by_run(values[i], runs) for i in graph.outputs]
    if not all(np.isfinite(each).all() for each in before):
        return None
    stored = [output_on_grid(switches, k, values[i], grids) for k, i in enumerate(graph.outputs)]
    error = beside(before, grids.units, runs) - beside(few.bare, grids.units, runs)
    return replace(_of_stored(stored, few, grids), rms_steps=math.sqrt(float(np.square(error).mean())))


def _of_stored(stored: Sequence[Array], few: Few, grids: OutputGrids) -> Quality:
    """Outputs as integers of their grids, floats where there is none, by the formulas of ``diff``.

    What differs is another integer; of floats without a grid what is farther than the tolerance.
    """
    outputs = tuple(
        replace(own, array=y.reshape(own.array.shape), quant=None if grid is None else grid.params, grid=grid)
        for own, y, grid in zip(few.candidate.outputs, stored, grids.grids, strict=True)
    )
    found = compare(few.reference, replace(few.candidate, outputs=outputs), grids.tolerance)
    each, whole = [output.figures for output in found.outputs], found.figures
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


def _elsewhere(model: Model, few: Few, grids: OutputGrids) -> Iterator[Advice]:
    """The file on other runtimes, all in the simulator."""
    found = {}
    on = few.rules if isinstance(few.rules, Runtime) else Runtime.REFERENCE
    for each in on.neighbours:
        chain = simulate(model.main, inputs_of(model, few.rows), each, model.subgraphs)
        if not chain.missing:
            found[each] = _of_stored(grids.of_file(model.main, chain.values), few, grids)
    now = found.pop(on, None) if on is few.rules else None
    if now is None:
        return
    for other, then in found.items():
        yield _advice(KERNEL, f"runtime {other.value}", now, then, few)


def _name(switches: Switches, move: Move) -> str:
    operator, op, layer, tensor, _ = named(switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"
