"""The whole account of a pair, slice after slice of the data: the reference's graph, the file's, the real runtime.

The lower rungs are the file in the simulator: with exact sums and the runtime's curves, then with all its rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Model, Operator, keeps_resources
from quantdiff.ladder.account import Account, add_layers, in_parts, layers_of, samples_in_part
from quantdiff.ladder.attribution import Attribution, lowered_outputs, signed
from quantdiff.ladder.conclusion import concluded
from quantdiff.ladder.departure import departure
from quantdiff.ladder.explanation import (
    CURVES,
    MECHANISMS,
    REAL,
    REFERENCE,
    REWRITTEN,
    ROUNDING,
    RUNTIME,
    STEPS,
    Explanation,
)
from quantdiff.ladder.frontier import Given, beside, in_real_units
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.rounded_rung import rounded_rung
from quantdiff.ladder.rungs import (
    RealRungs,
    by_run,
    changes,
    named,
    one_thread_a_product,
    real_inputs,
    real_rungs,
    rows_of,
    side_by_side,
    with_rounding,
)
from quantdiff.ladder.set_up import Few, Ladder, Question, Sums, set_up, trace_of_file
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Trace, same_bits
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import Reading, read_at_once, read_tensors, readable_tensors, simulate_tensors
from quantdiff.run.runner import Progress, Runner, silent
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import all_but_curves
from quantdiff.sim.graph.simulator import Simulation, run_stateless, simulate, simulate_by, simulate_ideal
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

RunsOn = Runner | Runtime
"""A process, or a runtime that is not installed: then its simulator stands for it."""


def explain_pair(question: Question, runs_on: RunsOn, progress: Progress = silent) -> Explanation:
    """Account for every output of the file that is not the reference's.

    Raises:
        BadData: the data do not fit a model's inputs.
        NotComparable: the two are not the same model, or their outputs do not fit each other.
        RuntimeFailed: a model does not run.
    """
    batch = question.batch
    if not len(batch):
        raise BadData(f"{batch.source}: no samples; nothing can be explained")
    ladder, size = set_up_pair(question, runs_on), samples_in_part(question.model)
    sums = Sums(Account(MECHANISMS), {}, ladder.attribution(), {})
    for start in range(0, len(batch), size):
        sums += sums_of(ladder, runs_on, (batch.part(slice(start, start + size)), start), sums.attribution, progress)
    return conclude(ladder, sums, runs_on)


@one_thread_a_product()
def set_up_pair(question: Question, runs_on: RunsOn) -> Ladder:
    """What the first samples tell; raises as ``explain_pair``."""
    first = question.batch.part(slice(min(SET_UP_ON, read_at_once(question.model, _readable(question, runs_on)))))
    with closing(_readings(question, runs_on, first)) as readings:
        reading = next(readings)
        return set_up(question, reading, question.trace(reading.rows))


SET_UP_ON = 64
"""Samples at most."""


@one_thread_a_product()
def sums_of(
    ladder: Ladder,
    runs_on: RunsOn,
    part: tuple[Batch, int],
    attribution: Attribution | None = None,
    progress: Progress = silent,
) -> Sums:
    """What is added up of some samples, and the number of the first; ``attribution`` is that of all before them.

    Raises:
        BadData, RuntimeFailed: as ``explain_pair``.
    """
    name, rules = _known(runs_on)
    batch, first = part
    sums = Sums(Account(MECHANISMS), {}, attribution, {}, missing=() if rules else (f"rules for {name}",))
    with closing(_readings(ladder.question, runs_on, batch)) as readings:
        streams = keeps_resources(ladder.question.model.main)
        for reading in (part for slice_ in readings for part in in_parts(slice_, whole=streams)):
            own = ladder.question.trace(reading.rows)
            _add(ladder, sums, replace(reading, start=first + reading.start), own, rules)
            progress(f"explain {name}", sums.samples, len(batch))
    return sums


@one_thread_a_product()
def conclude(ladder: Ladder, sums: Sums, runs_on: RunsOn) -> Explanation:
    """The explanation of all that was added up."""
    name, _ = _known(runs_on)
    explanation = concluded(ladder, sums, name, TIMEOUT if isinstance(runs_on, Runtime) else runs_on.timeout)
    if keeps_resources(ladder.question.model.main) and (part := samples_in_part(ladder.question.model)) < sums.samples:
        parted = f"a stream: its state is empty again after every {part} samples, in both models"
        explanation = replace(explanation, notes=(*explanation.notes, parted))
    if isinstance(runs_on, Runtime):
        return replace(explanation, candidate=f"simulator:{name}", closed_candidate=False)
    return replace(explanation, notes=(*explanation.notes, *runs_on.notes))


def _known(runs_on: RunsOn) -> tuple[str, Rules | None]:
    """The runtime's name, and the simulator's rules for it, if there are any."""
    if not isinstance(runs_on, Runtime):
        return runs_on.runtime, runs_on.rules
    return runs_on.value, runs_on


def _readable(question: Question, runs_on: RunsOn) -> list[int]:
    graph = question.model.main
    held = None if isinstance(runs_on, Runtime) else runs_on.holds(graph)
    return readable_tensors(graph, _known(runs_on)[1], held)


def _readings(question: Question, runs_on: RunsOn, batch: Batch) -> Generator[Reading, None, None]:
    tensors = _readable(question, runs_on)
    if not isinstance(runs_on, Runtime):
        return read_tensors(question.model, tensors, batch, runs_on)
    return simulate_tensors(question.model, tensors, batch, runs_on)


def _add(ladder: Ladder, sums: Sums, reading: Reading, own: Trace, rules: Rules | None) -> None:
    """One slice: every rung's outputs, the layers and, of the first samples, the frontier.

    Without ``rules`` the rungs of the runtime's arithmetic stand where the last one above them does.
    """
    grids, targets = ladder.grids, ladder.grids.targets(reading.outputs)
    found = {REFERENCE: grids.of_reference(_flat(own, reading)), RUNTIME: [target.values for target in targets]}
    (chain, rounded), real = side_by_side(lambda work: work(), _works(ladder, reading, rules))
    if real is not None:
        real = with_rounding(real, rounded)
        runs = len(reading.inputs[0])
        pairs = zip(targets, found[REFERENCE], strict=True)
        differing = sum((target.wrong(y).reshape(runs, -1).sum(axis=1) for target, y in pairs), np.zeros(runs, int))
        found |= _real(ladder, sums, reading, (own, chain, rules, real), differing)
    if rules is not None:
        found |= _simulated(ladder, sums, reading, chain)
    rungs = _filled(found)
    sums.outputs.add(targets, rungs, reading.start, len(reading.rows))
    sums.changed += reading.changed
    sums.samples += len(reading.rows)


def _works(ladder: Ladder, reading: Reading, rules: Rules | None) -> list[Callable[[], Any]]:
    """What neither waits for the other: the simulator's chains with the rung by integers, and the other rungs."""
    switches, nothing = ladder.switches, Chains({}, ())
    layers = [] if switches is None else [i for _, i in layers_of(switches) if i in reading.values]

    def simulated() -> tuple[Chains, Values | None]:
        found = nothing if rules is None else chains(ladder.question.model, reading.inputs, rules, reading.values)
        if switches is None or not changes(switches, STEPS):
            return found, None
        inputs = real_inputs(ladder.question.model, reading.rows)
        return found, rounded_rung(switches, inputs, found.rungs.get(CURVES, {}), layers)

    def real() -> RealRungs | None:
        return None if switches is None else real_rungs(switches, ladder.lowered_order, reading.rows, layers)

    return [simulated, real]


def _simulated(ladder: Ladder, sums: Sums, reading: Reading, chain: Chains) -> dict[str, list[Array]]:
    """The rungs of the runtime's arithmetic, where the simulator has all operators."""
    graph = ladder.question.model.main
    sums.missing, sums.borrowed = chain.missing, chain.borrowed
    if chain.missing:
        return {}
    sums.closed &= all(map(same_bits, [chain.rungs[ROUNDING][i] for i in graph.outputs], reading.outputs))
    return {m: ladder.grids.of_file(graph, values) for m, values in chain.rungs.items()}


def _filled(found: dict[str, list[Array]]) -> list[Sequence[Array]]:
    """Every rung in order; one that could not be computed stands where the one above it does."""
    rungs: list[Sequence[Array]] = []
    for mechanism in MECHANISMS:
        rungs.append(found.get(mechanism, rungs[-1] if rungs else []))
    return rungs


def _real(
    ladder: Ladder,
    sums: Sums,
    reading: Reading,
    given: tuple[Trace, Chains, Rules | None, RealRungs],
    differing: Array,
) -> dict[str, list[Array]]:
    """The rungs of real arithmetic; what lies beside them is added up on the way.

    ``differing``: by run, how many outputs do.
    """
    trace, chain, rules, real = given
    found, grids, own = ladder.switches, ladder.grids, _flat(trace, reading)
    assert found is not None
    reference = [own[k].reshape(len(own[k]), -1) for k in grids.order]
    for mechanism in (REAL, REWRITTEN):
        _apart(ladder, sums, real, reference, mechanism)
    _outside(ladder, sums, reference)
    if sums.attribution is not None and (runs := sums.attribution.wanted(differing)):
        rows = reading.rows.part(slice(runs * len(reading.rows) // len(reading.inputs[0])))
        samples = _given(ladder, reading, rows, real, reference)
        sums.attribution.add(samples, int(differing[:runs].sum()))
        if sums.few is None:
            outputs = [rows_of(y, len(reading.inputs[0]), slice(runs)) for y in reading.outputs]
            first = replace(trace, outputs=tuple(replace(y, array=y.array[: len(rows)]) for y in trace.outputs))
            filed = trace_of_file(ladder.question.model, outputs, first, "the .tflite")
            sums.few = Few(rows, first, filed, samples.bare, rules)
        if _parted(found, real, grids.units) > DEPARTS and not sums.departs:
            sums.departs = departure(found, reading.rows)
    _single(ladder, sums, reading, real, reference)
    add_layers((found, rules), sums.layers, reading, (real, chain.rungs))
    return {mechanism: real.outputs(found, grids, mechanism) for mechanism in real.values}


def _flat(own: Trace, reading: Reading) -> list[Array]:
    """The reference's outputs, one of the file's runs a row."""
    return [by_run(value.real, len(reading.inputs[0])) for value in own.outputs]


DEPARTS = 1e-3  # steps: what floats may lie apart


def _parted(found: Switches, real: RealRungs, units: tuple[float, ...]) -> float:
    """How far the two graphs lie apart in exact arithmetic, in steps."""
    ours, theirs = (real.as_given(found, mechanism) for mechanism in (REWRITTEN, REAL))
    return float(np.abs(beside(ours, units, len(ours[0])) - beside(theirs, units, len(theirs[0]))).max(initial=0))


def _given(ladder: Ladder, reading: Reading, first: Batch, real: RealRungs, reference: Sequence[Array]) -> Given:
    """What the frontier needs of the ``first`` samples of a slice."""
    found = ladder.switches
    assert found is not None
    graph = ladder.question.model.main
    inputs = real_inputs(ladder.question.model, first)
    count = len(inputs[0])
    stored, runs = {**dict(zip(graph.inputs, reading.inputs, strict=True)), **reading.values}, len(reading.inputs[0])
    recorded = in_real_units(found, {i: rows_of(v, runs, slice(0, count)) for i, v in stored.items()}, count)
    low, bare = lowered_outputs(found, ladder.lowered_order, real_inputs(found.lowering, first))
    runtime = [recorded[i] for i in graph.outputs]
    values = {i: v[:count] for i, v in real.values[REWRITTEN].items()}
    values |= dict(zip(graph.inputs, inputs, strict=True))
    return Given(inputs, recorded, runtime, [y[:count] for y in reference], low, bare, values)


def _single(ladder: Ladder, sums: Sums, reading: Reading, real: RealRungs, reference: Sequence[Array]) -> None:
    """The list for one output, where its sample is among these."""
    asked, found = ladder.question.single, ladder.switches
    if asked is None or found is None or not reading.start <= asked[0] < reading.start + len(reading.rows):
        return
    at = asked[0] - reading.start
    place, runs = slice(0 if found.file.streams else at, at + 1), len(reading.inputs[0])
    rows = reading.rows.part(place)
    stored = {i: rows_of(v, runs, place) for i, v in reading.values.items()}
    one = replace(reading, rows=rows, values=stored, inputs=tuple(x[place] for x in reading.inputs))
    values = RealRungs({REWRITTEN: {i: v[place] for i, v in real.values[REWRITTEN].items()}})
    given = _given(ladder, one, rows, values, [y[place] for y in reference])
    elements = sum(y[0].size for y in given.runtime)
    if asked[1] >= elements:
        raise BadData(f"output {asked[1]}: there are {elements}, counted from 0")
    sums.signed = signed(found, given, ladder.grids.units, asked[1])


def _apart(ladder: Ladder, sums: Sums, real: RealRungs, reference: Sequence[Array], mechanism: str) -> None:
    """How far a rung of real arithmetic lies from the reference's own floats."""
    found, grids = ladder.switches, ladder.grids
    assert found is not None
    values = real.as_given(found, mechanism)
    count = len(values[0])
    distance = np.abs(beside(values, grids.units, count) - beside(reference, grids.units, count)).max(initial=0)
    ours = [y.reshape(-1) for y in real.outputs(found, grids, mechanism)]
    theirs = [
        y.reshape(-1) for y in grids.of_reference([reference[grids.order.index(k)] for k in range(len(grids.order))])
    ]
    pairs = zip(ours, theirs, grids.grids, strict=True)
    flips = sum(int(np.count_nonzero(a != b)) for a, b, grid in pairs if grid is not None)
    largest, before = sums.apart.get(mechanism, (0.0, 0))
    sums.apart[mechanism] = max(largest, float(distance)), before + flips


def _outside(ladder: Ladder, sums: Sums, reference: Sequence[Array]) -> None:
    """The reference's outputs beyond the ends of the file's own."""
    found = ladder.switches
    assert found is not None
    beyond, count, farthest = sums.outside
    for values, end in zip(reference, found.ends, strict=True):
        if end is not None:
            grid = found.file.grids[end]
            over = (np.abs(values - grid.clipped(values)) / grid.scale).ravel()
            beyond, count = beyond + int(np.count_nonzero(over > 0.5)), count + over.size  # noqa: PLR2004 (rounding reaches so far)
            farthest = max(farthest, float(over.max(initial=0)))
    sums.outside = beyond, count, farthest


@dataclass(frozen=True, slots=True)
class Chains:
    """Every tensor at each of the simulator's rungs, samples along axis 0.

    ``missing`` are operators that the simulator lacks, ``borrowed`` those whose results the runtime lent; both say why.
    """

    rungs: Mapping[str, Mapping[int, Array]]
    missing: tuple[str, ...]
    borrowed: tuple[str, ...] = ()


def chains(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array] | None = None
) -> Chains:
    """The whole graph at each rung. Shapes: each input (samples, *shape of the model's input).

    ``recorded`` are the runtime's own tensors. Where the simulator lacks an operator and its chain arrives there with
    the runtime's own bits, what the runtime made of them is taken: the account goes on behind it.
    """
    ideal = partial(simulate_ideal, model.main, inputs, runtime, all_but_curves, model.subgraphs)
    works: list[Callable[[], Any]] = [ideal, partial(_whole, model, inputs, runtime, recorded or {})]
    mixed, (whole, borrowed) = side_by_side(lambda work: work(), works)
    rungs = {ROUNDING: whole.values}
    if all(i in mixed.values for i in model.main.outputs):
        rungs[CURVES] = mixed.values
    return Chains(rungs, named(whole.missing), borrowed)


def _whole(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array]
) -> tuple[Simulation, tuple[str, ...]]:
    """The runtime's chain, and the operators whose results were taken from the runtime."""
    graph, borrowed = model.main, list[str]()
    if keeps_resources(graph):
        return simulate(graph, inputs, runtime, model.subgraphs), ()
    given = {**dict(zip(graph.inputs, inputs, strict=True)), **recorded}

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        try:
            return run_stateless(graph, model.subgraphs, runtime, None, operator, values)
        except NoKernel as error:
            fed = [i for i in operator.inputs if i in values]
            known = all(i in given for i in (*fed, *operator.outputs))
            if not (fed and known and all(same_bits(values[i], given[i]) for i in fed)):
                raise
            borrowed.append(f"operator {operator.index} {operator.op} ({error})")
            return tuple(given[i] for i in operator.outputs)

    return simulate_by(operate, graph, inputs, runtime), tuple(borrowed)
