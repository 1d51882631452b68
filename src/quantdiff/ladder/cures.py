"""Cures for the operators that matter, plans of ``advise`` run as there: what would become of the outputs.

They run on a real runtime, or in the account's own arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.compare.comparison import compare
from quantdiff.errors import BadModel, RuntimeFailed, RuntimeHung
from quantdiff.graph import Model, Operator
from quantdiff.ladder.advice.planned import files_of
from quantdiff.ladder.advice.plans import Plan, Rows, copies_of, defined, from_data, made, per_channel, wide
from quantdiff.ladder.attribution import Attribution, named
from quantdiff.ladder.explanation import BIAS, CLIPPING, INPUT, KERNEL, RANGES, STEPS, WEIGHTS, Advice, Quality
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import OutputGrids, RealRungs, by_run, in_slices, on_grid, real_inputs
from quantdiff.ladder.set_up import Few
from quantdiff.ladder.switches import Switches, copied_from
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, Trace
from quantdiff.run.inputs import inputs_of
from quantdiff.run.runner import Runner
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

MOST, WORTH = 5, 0.05
"""Items that are tried, and the share from which one is."""
LESS = 0.995
"""What counts as better, as a part of the error before the output's grid."""


def tries(switches: Switches, few: Few, grids: OutputGrids, plans: Sequence[Plan], trials: Runner) -> Iterator[Trace]:
    """The outputs under each plan, in floats.

    Raises:
        BadModel, RuntimeFailed: they cannot be written as one file, or ``trials`` does not run it.
    """
    if on_the_graph(switches):
        yield from (_computed(switches, few, plan) for plan in plans)
        return
    rows = Rows(switches.model, few.rows, 0, few.reference, few.candidate, trials, trials, grids.tolerance)
    for each in files_of(plans, switches.model.whole()):
        yield from each.traces(rows)


def on_the_graph(switches: Switches) -> bool:
    """Whether plans are computed on the graph: what keeps a state, or loops, is not written as another file."""
    return not switches.file.is_plain


def _computed(switches: Switches, few: Few, plan: Plan) -> Trace:
    """In exact arithmetic: the runtime's kernels are left out."""
    file = switches.file
    bounded = plan.grids.keys() & file.varying
    setting = Setting(plan.constants, plan.own, bounded, bounded, {i: plan.grids[i] for i in bounded})
    values = in_slices(file, real_inputs(switches.model, few.rows), setting, file.graph.outputs)
    pairs = zip(few.candidate.outputs, file.graph.outputs, strict=True)
    outputs = (replace(own, array=values[i].reshape(own.array.shape), quant=None, grid=None) for own, i in pairs)
    return replace(few.candidate, outputs=tuple(outputs))


def cures(
    switches: Switches, few: Few, attribution: Attribution, grids: OutputGrids, trials: Runner
) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """What helps against the items with the largest shares, the best first, and what would be worse, said so.

    Beside it a line for each change that could not be tried.

    What changes in the file runs as ``advise`` runs it, on the file's own kernels; a bias, which the reference can have
    as the file has it, is a change of the reference, in the account's arithmetic.

    Raises:
        BadModel, RuntimeFailed: not even the file without a change can be written in floats, or ``trials`` runs it.
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
    biases = [move for move in leading if move.mechanism == BIAS]
    if not (tried or kernels or biases) and back is None:
        return (), ()
    plans = [made(switches, ()), *(plan for _, plan in tried.values()), *([back] if back is not None else [])]
    now, *then = _outcomes(switches, few, grids, plans, trials)
    if now.failed is not None:
        raise now.failed
    if now.quality is None:
        return (), ()
    found = [
        advice_of(move.mechanism, change, now.quality, outcome.quality, few)
        for (change, (move, _)), outcome in zip(tried.items(), then, strict=False)
        if outcome.quality is not None
    ]
    for move in biases:
        on_grid = _with_biases(switches, few, grids, [*_own(switches, move)], now.before)
        change = f"{name_of(switches, move)}: biases on the int32 grid already in the reference"
        found += [advice_of(BIAS, change, now.quality, on_grid, few)] if on_grid is not None else []
    if kernels:
        found += _elsewhere(switches.model, few, grids)
    told = (
        _worse(name_of(switches, worst), worst, (now, then[-1]), few) if worst is not None and back is not None else ()
    )
    return (*sorted(filter(_helps, found), key=_left), *told), _untried([*tried], then)


def _worse(name: str, move: Move, outcomes: tuple[_Outcome, _Outcome], few: Few) -> tuple[Advice, ...]:
    """What is better left alone: the file now, and with one item taken back."""
    now, then = (outcome.quality for outcome in outcomes)
    if now is None or then is None or (then.rms_steps or 0.0) <= (now.rms_steps or 0.0):
        return ()
    note = "its error cancels that of others: this makes it worse"
    return (replace(advice_of(move.mechanism, f"{name} in float", now, then, few), note=note),)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Of the outputs under a plan; ``before`` are those before their own grids. Shapes: (runs, elements) each.

    No quality where outputs are undefined, or where the plan did not run: ``failed`` says why.
    """

    quality: Quality | None = None
    before: Sequence[Array] = ()
    failed: BadModel | RuntimeFailed | None = None


def _untried(changes: Sequence[str], outcomes: Sequence[_Outcome]) -> tuple[str, ...]:
    pairs = zip(changes, outcomes, strict=False)
    return tuple(f"{change} could not be tried: {each.failed}" for change, each in pairs if each.failed is not None)


def _outcomes(
    switches: Switches, few: Few, grids: OutputGrids, plans: Sequence[Plan], trials: Runner
) -> list[_Outcome]:
    """Of each plan. They share files; where one of these does not run, every plan has its own."""
    try:
        return _together(switches, few, grids, plans, trials)
    except RuntimeHung:  # every other might, too
        raise
    except (BadModel, RuntimeFailed) as error:
        if len(plans) == 1:
            return [_Outcome(failed=error)]
    return [_outcomes(switches, few, grids, [plan], trials)[0] for plan in plans]


def _together(
    switches: Switches, few: Few, grids: OutputGrids, plans: Sequence[Plan], trials: Runner
) -> list[_Outcome]:
    runs, ends = len(few.bare[0]), {i for i in switches.ends if i is not None}
    off = [replace(plan, grids={i: g for i, g in plan.grids.items() if i not in ends}) for plan in plans]
    each = [plan for pair in zip(plans, off, strict=True) for plan in pair]
    traces = [*tries(switches, few, grids, each, trials)]
    found = list[_Outcome]()
    for on, bare in zip(traces[::2], traces[1::2], strict=True):
        before = [by_run(value.real.astype(np.float64), runs) for value in bare.outputs]
        if not (defined(on) and defined(bare)):
            found.append(_Outcome(None, before))
            continue
        stored = [stored_on(value.real, grid) for value, grid in zip(on.outputs, grids.grids, strict=True)]
        quality = replace(quality_of(stored, few, grids), rms_steps=rms_of(before, few.bare, grids))
        found.append(_Outcome(quality, before))
    return found


def _with_biases(
    switches: Switches, few: Few, grids: OutputGrids, biases: Sequence[int], before: Sequence[Array]
) -> Quality | None:
    """Of the file as it is beside the reference with some of the file's biases; None where that is undefined."""
    given, bare = reference_with(switches, few.rows, few.reference, grids.order, (biases, ()))
    if not defined(given):
        return None
    stored = [stored_on(value.array, grid) for value, grid in zip(few.candidate.outputs, grids.grids, strict=True)]
    quality = quality_of(stored, replace(few, reference=given), grids)
    return replace(quality, rms_steps=rms_of(before, bare, grids))


def _helps(advice: Advice) -> bool:
    if advice.now is None or advice.then is None:
        return False
    if advice.now.rms_steps is None or advice.then.rms_steps is None:
        return advice.then.sqnr_db > advice.now.sqnr_db + BETTER_DB
    return advice.then.rms_steps < advice.now.rms_steps * LESS


def _left(advice: Advice) -> float:
    """What is left of the error, by which cures are sorted; those on other runtimes come last."""
    return math.inf if advice.then is None or advice.then.rms_steps is None else advice.then.rms_steps


def _tried(switches: Switches, attribution: Attribution, move: Move) -> Iterator[tuple[str, Plan]]:
    name, plan, filed = name_of(switches, move), _without(switches, move), made(switches, ())
    if move.mechanism == KERNEL and (grid := copied_from(switches, move.tensor)) is not None:
        one_grid = {**filed.grids, **dict.fromkeys(_tied(switches, move), grid)}
        yield f"{name}: the grid of its input, whose integers it copies", replace(filed, grids=one_grid)
    if plan is None or move.mechanism == BIAS:
        return
    yield f"{name}: {'kernel in float' if move.mechanism == WEIGHTS else 'its output in float'}", plan
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        met, held = attribution.met.get(move.tensor), switches.file.grids[move.tensor]
        tied = _tied(switches, move)
        grids = {"its output in int16": wide(met or held.ends)}
        if met is not None and move.mechanism != STEPS:
            grids["range from this data"] = from_data(met, held)
        for change, grid in grids.items():
            yield f"{name}: {change}", replace(filed, grids={**filed.grids, **dict.fromkeys(tied, grid)})
    maker = switches.file.graph.producer(move.tensor)
    if move.mechanism == WEIGHTS and maker is not None and (finer := per_channel(switches, maker))[0]:
        yield f"{name}: a scale per channel", replace(filed, constants=finer[0], scales=finer[1])


def _without(switches: Switches, move: Move) -> Plan | None:
    """The file with one item taken back."""
    filed = made(switches, ())
    if move.mechanism in (WEIGHTS, BIAS):
        return replace(filed, constants=_own(switches, move))
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        tied = _tied(switches, move)
        kept = {i: grid for i, grid in filed.grids.items() if i not in tied}
        return replace(filed, grids=kept, own={i: g for i, g in switches.own.items() if i == move.tensor})
    return None


def _tied(switches: Switches, move: Move) -> set[int]:
    """The tensors that share the grid of an item: those that it gives, and what copies them."""
    made = [i for operator in _within(switches, move) for i in operator.outputs if i in switches.file.grids]
    return {copy for i in {move.tensor, *made} for copy in copies_of(switches, i)}


def _own(switches: Switches, move: Move) -> dict[int, Array]:
    """The reference's kernels, or biases, of the operator that an item names."""
    tensors = (i for operator in _within(switches, move) for i in operator.inputs)
    own = {i: m.value for i in tensors if (m := switches.matches.get(i)) is not None and m.value is not None}
    return {i: value for i, value in own.items() if switches.mechanism(i) == move.mechanism}


def _within(switches: Switches, move: Move) -> list[Operator]:
    """The operator of an item; where it stands in a loop or a branch, all that is written there."""
    file = switches.file
    maker = file.graph.producer(move.tensor)
    if maker is None or (origin := file.origin.get(maker.index)) is None:
        return [] if maker is None else [maker]
    return [op for op in file.operators if file.origin.get(op.index) is origin]


def _elsewhere(model: Model, few: Few, grids: OutputGrids) -> Iterator[Advice]:
    """The file on other runtimes, all in the simulator."""
    found = {}
    on = few.rules if isinstance(few.rules, Runtime) else Runtime.REFERENCE
    for each in on.neighbours:
        chain = simulate(model.main, inputs_of(model, few.rows), each, model.subgraphs)
        if not chain.missing:
            pairs = zip(model.main.outputs, grids.grids, strict=True)
            found[each] = quality_of([stored_on(chain.values[i], grid) for i, grid in pairs], few, grids)
    now = found.pop(on, None) if on is few.rules else None
    if now is None:
        return
    for other, then in found.items():
        yield advice_of(KERNEL, f"runtime {other.value}", now, then, few)


BETTER_DB = 0.02
"""Of stored outputs: what counts as better."""


def rms_of(before: Sequence[Array], bare: Sequence[Array], grids: OutputGrids) -> float:
    """Of the error before the output's own grid, in steps."""
    runs = len(bare[0])
    error = beside(before, grids.units, runs) - beside(bare, grids.units, runs)
    return math.sqrt(float(np.square(error).mean()))


def stored_on(values: Array, grid: Grid | None) -> Array:
    """Integers of an output's grid; floats stay what they are where it has none, but counts in steps."""
    return values if grid is None or grid.is_lent else on_grid(values, grid)


def quality_of(stored: Sequence[Array], few: Few, grids: OutputGrids) -> Quality:
    """Outputs as integers of their grids, floats where there is none, by the formulas of ``diff``.

    What differs is another integer; of floats without a grid what is farther than the tolerance.
    """
    outputs = tuple(
        replace(
            own,
            array=y.reshape(own.array.shape),
            quant=grid.params if grid and y.dtype.kind in "iu" else None,
            grid=grid,
        )
        for own, y, grid in zip(few.candidate.outputs, stored, grids.grids, strict=True)
    )
    found = compare(few.reference, replace(few.candidate, outputs=outputs), grids.tolerance)
    each, whole = [output.figures for output in found.outputs], found.figures
    differing = sum(round(f.not_close * f.count) if f.differing is None else f.differing for f in each)
    return Quality(differing, whole.sqnr_db, whole.top1_agreement)


def advice_of(mechanism: str, change: str, now: Quality, then: Quality, few: Few) -> Advice:
    """What a change would do, on these samples."""
    return Advice(mechanism, change, now.differing, then.differing, "", len(few.rows), now, then)


def name_of(switches: Switches, move: Move) -> str:
    """``CONV_2D 3 (head)``."""
    operator, op, layer, tensor, _ = named(switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"


def reference_with(
    switches: Switches, rows: Batch, reference: Trace, order: Sequence[int], held: tuple[Sequence[int], Sequence[int]]
) -> tuple[Trace, list[Array]]:
    """The reference's outputs if it had some biases and grids as the file has them; and before their own grids.

    What changes is counted in the account's arithmetic, and added to what the reference's framework gave.

    Args:
        switches: the pair.
        rows: the data.
        reference: what it gave for them.
        order: for each output of the file the place of the reference's.
        held: biases and tensors of the file. Shapes of what comes back: (runs, elements).
    """
    (biases, tensors), outputs = held, switches.file.graph.outputs
    own = {**switches.own, **{i: switches.file.grids[i] for i in tensors}}
    settled = replace(switches, own=own, matches={i: m for i, m in switches.matches.items() if i not in biases})
    inputs = real_inputs(switches.model, rows)
    was, now = (
        RealRungs({"": in_slices(each.file, inputs, each.rewritten, outputs)}).as_given(each, "")
        for each in (switches, settled)
    )
    given = list(reference.outputs)
    for place, before, after in zip(order, was, now, strict=True):
        value = given[place]
        moved = value.real + (after - before).reshape(value.array.shape)
        given[place] = replace(value, array=np.asarray(moved, np.float32), quant=None)
    bare = in_slices(settled.file, inputs, settled.rewritten, outputs)
    return replace(reference, outputs=tuple(given)), [by_run(bare[i], len(inputs[0])) for i in outputs]
