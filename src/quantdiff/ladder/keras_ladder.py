"""The whole ladder, slice after slice of the data: the reference in Keras, the file simulated, the real runtime."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from quantdiff.align.models import align_pair
from quantdiff.bitwise import same_bits
from quantdiff.errors import BadData
from quantdiff.graph import Model
from quantdiff.ladder.account import Account, LayerAccount, Target
from quantdiff.ladder.advice import advise
from quantdiff.ladder.candidate_end import Chains, chains, local, operators_between
from quantdiff.ladder.conclusion import concluded
from quantdiff.ladder.expectation import Tell, expect, unheard
from quantdiff.ladder.explanation import (
    CURVES,
    EXCHANGES,
    REFERENCE,
    ROUNDING,
    RUNTIME,
    Explanation,
)
from quantdiff.ladder.ladder import Ladder, Question, Sums, set_up
from quantdiff.ladder.recalibration import unsettled
from quantdiff.ladder.reference_end import Passes, Run
from quantdiff.ladder.wrong_weights import check_related
from quantdiff.load.data import Batch
from quantdiff.parameters.quantizers import Observed
from quantdiff.parameters.sides import ModelPair
from quantdiff.progress import Progress, silent
from quantdiff.references.keras.run import call_keras
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.child import RuntimeProcess
from quantdiff.run.inner_tensors import Reading, read_tensors, readable_tensors, simulate_tensors
from quantdiff.sim.runtime import Runtime


def explain_keras(
    question: Question, runs_on: RuntimeProcess | Runtime, progress: Progress = silent, tell: Tell = unheard
) -> Explanation:
    """Account for every output of the file that is not the one of the Keras model; ``tell`` first what to expect.

    A ``Runtime`` instead of a process stands for one that is not installed: its simulator takes its place, and the
    ladder stays open at that end.

    Raises:
        BadData: the data do not fit a model's inputs.
        NotComparable: the two are not the same model, or their outputs do not fit each other.
        RuntimeFailed: a model does not run.
    """
    model, batch, layers = question.model, question.batch, question.keras.layers()
    file = TfliteReference(model, runs_on if isinstance(runs_on, RuntimeProcess) else None)
    sides = ModelPair(layers, model.main, align_pair(question.keras, file, batch), Observed())
    check_related(sides)
    runtime = Runtime(runs_on.runtime) if isinstance(runs_on, RuntimeProcess) else runs_on
    expected = expect(question, sides, runtime)
    if expected is not None:
        tell(expected)
    ladder: Ladder | None = None
    sums = Sums(Account(()), {})
    with closing(_readings(model, batch, runs_on)) as readings:
        for reading in readings:
            if ladder is None:
                ladder = set_up(question, sides, reading, runtime)
                sums = Sums(Account(ladder.mechanisms), {})
            _add(ladder, sums, reading)
            progress(f"explain {runtime.value}", sums.samples, len(batch))
    if ladder is None:
        raise BadData(f"{batch.source}: no samples; nothing can be explained")
    explanation = concluded(ladder, sums, expected)
    if isinstance(runs_on, Runtime):
        explanation = replace(explanation, candidate=f"simulator:{runtime.value}", closed_candidate=False)
    return replace(explanation, advice=advise(ladder, explanation, batch, unsettled(expected)))


def _readings(model: Model, batch: Batch, runs_on: RuntimeProcess | Runtime) -> Generator[Reading, None, None]:
    if isinstance(runs_on, RuntimeProcess):
        return read_tensors(model, readable_tensors(model.main, Runtime(runs_on.runtime)), batch, runs_on)
    return simulate_tensors(model, readable_tensors(model.main, runs_on), batch, runs_on)


def _add(ladder: Ladder, sums: Sums, reading: Reading) -> None:
    """One slice: every rung's outputs, each mechanism alone, and the layers."""
    graph, ends = ladder.model.main, ladder.ends
    targets, passes = ends.targets(reading.outputs), Passes(ladder.end, reading.rows)
    runs = _keras_rungs(passes)
    plain = call_keras(ladder.end.keras, reading.rows)
    sums.closed_reference &= all(map(same_bits, plain, runs[REFERENCE].outputs))
    found = {mechanism: ends.of_reference(run.outputs) for mechanism, run in runs.items()}
    chain = None if ladder.missing else chains(ladder.model, reading.inputs, ladder.runtime, reading.values)
    if chain is not None:
        found |= {mechanism: ends.of_file(graph, values) for mechanism, values in chain.rungs.items()}
        last = [chain.rungs[ROUNDING][i] for i in graph.outputs]
        sums.closed_candidate &= all(map(same_bits, last, reading.outputs))
        if chain.real_curves is not None:
            sums.outputs.also(sums.outputs.without, CURVES, targets, ends.of_file(graph, chain.real_curves))
        sums.outputs.also(sums.outputs.without, ROUNDING, targets, found[CURVES])
    found[RUNTIME] = [target.values for target in targets]
    rungs = [found[mechanism] for mechanism in ladder.mechanisms]
    sums.outputs.add(targets, rungs, reading.start, len(reading.rows))
    _alone(ladder, sums.outputs, passes, targets)
    _layers(ladder, sums, reading, runs, chain)
    sums.changed += reading.changed
    sums.samples += len(reading.rows)


def _keras_rungs(passes: Passes) -> dict[str, Run]:
    """The reference's rungs: each exchanges one mechanism more."""
    rungs = [EXCHANGES[:k] for k in range(len(EXCHANGES) + 1)]
    return {m: passes.run(so_far) for m, so_far in zip((REFERENCE, *EXCHANGES), rungs, strict=True)}


def _alone(ladder: Ladder, account: Account, passes: Passes, targets: Sequence[Target]) -> None:
    for mechanism in EXCHANGES:
        outputs = passes.run((mechanism,)).outputs
        account.also(account.alone, mechanism, targets, ladder.ends.of_reference(outputs))


def _layers(ladder: Ladder, sums: Sums, reading: Reading, runs: Mapping[str, Run], chain: Chains | None) -> None:
    """Each layer as it comes, and fed with the runtime's own input."""
    graph, place = ladder.model.main, {m: r for r, m in enumerate(ladder.mechanisms)}
    forced = _keras_rungs(Passes(ladder.end, reading.rows, ladder.force(reading.values)))
    given = {**dict(zip(graph.inputs, reading.inputs, strict=True)), **reading.values}
    known = {pair.tensor for pair in ladder.pairs.values()}
    for name, pair in ladder.pairs.items():
        operator = None if pair.operator is None else graph.operators[pair.operator]
        tensor, op = graph.tensors[pair.tensor].label, operator.op if operator else ""
        account = sums.layers.setdefault(name, LayerAccount(name, tensor, op, len(place)))
        whole = {m: run.layers[name] for m, run in runs.items()}
        own = {m: run.layers[name] for m, run in forced.items()}
        if chain is not None:
            whole |= {m: values[pair.tensor] for m, values in chain.rungs.items() if pair.tensor in values}
            operators = operators_between(graph, known - {pair.tensor}, pair.tensor)
            own |= local(ladder.model, operators, given, ladder.runtime) if operators else {}
        target = Target(reading.values[pair.tensor].reshape(-1))
        account.add(target, {place[m]: y for m, y in whole.items()}, {place[m]: y for m, y in own.items()})
