"""Why two models differ: the account on the file's own graph, on every runtime asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.align.models import align_pair
from quantdiff.api.comparisons import check_inputs, laid_out
from quantdiff.api.engines import DEFAULTS, OpenedPair, Settings, Source, open_pair, settle_devices
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadData, BadModel, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.ladder.pair_ladder import explain_pair
from quantdiff.ladder.prediction import Tell, predict, unheard
from quantdiff.ladder.runtime_ladder import explain_runtimes
from quantdiff.ladder.set_up import Question
from quantdiff.load.data import Batch
from quantdiff.references.reference import Reference, TurnedReference
from quantdiff.references.tflite.reference import DEFAULT, TfliteReference
from quantdiff.run.data_in_parts import InParts
from quantdiff.run.inputs import load_data
from quantdiff.run.runner import Progress, Runner, silent, started
from quantdiff.run.runtimes import check_installed, entry_of, rules_of, versions


@dataclass(frozen=True, slots=True)
class Asked:
    """What else is asked of ``explain``.

    Attributes:
        tell: hears what to expect of each runtime, before it runs.
        single: a sample and an element of the outputs, counted from 0, whose difference is listed move by move.
    """

    tell: Tell = unheard
    single: tuple[int, int] | None = None


PLAIN = Asked()
"""Nothing else."""


def explain(
    reference: Source,
    candidate: Source,
    data: str | Path | Batch | InParts,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    asked: Asked = PLAIN,
) -> Explanations:
    """For the error of ``candidate``'s outputs, the operators and mechanisms that make it.

    The reference is a trained model or a float ``.tflite``; or the candidate itself: then its first runtime of
    ``settings`` is explained against each of the others. A runtime that is not installed is simulated.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or a ``.tflite``; or the candidate.
        candidate: the ``.tflite`` made from it.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units; or
            ``InParts``, many of these, and who works on them. Its models are files.
        settings: the runtimes to explain; the tolerance counts where an output lies on no integer grid.
        progress: called with what is done, how much of it, and how much there is.
        asked: who hears what to expect, and the one output whose difference is listed.

    Returns:
        For each runtime the shares of the error, and a ladder with what still differs at every rung.

    Raises:
        QuantdiffError: a model or the data cannot be read or do not fit each other, or the reference cannot run. A
            runtime on which the candidate fails is a ``Failure``.
    """
    if isinstance(data, InParts):
        from quantdiff.api.explanations_in_parts import explain_in_parts  # noqa: PLC0415 (which is built on this)

        return explain_in_parts((reference, candidate), data, settings, progress, asked)
    batch = load_data(data, candidate)
    here = tuple(name for name in settings.runtimes if entry_of(name).installed)
    with open_pair(reference, candidate, replace(settings, runtimes=here), batch) as pair:
        return explain_opened(pair, batch, settings, progress, asked)


def explain_opened(
    pair: OpenedPair, batch: Batch, settings: Settings, progress: Progress = silent, asked: Asked = PLAIN
) -> Explanations:
    """As ``explain``, of models that are open."""
    model = pair.candidate.wanted("explain")
    names, told = check_inputs(pair, batch)
    batch = names.of(batch)
    pair = laid_out(pair, batch, settings.layouts)
    told += settle_devices(pair, batch)
    if asked.single is not None and not 0 <= asked.single[0] < len(batch):
        raise BadData(f"{batch.source}: has {len(batch)} samples, counted from 0; there is no sample {asked.single[0]}")
    if same_file(pair.reference.file, model):
        found, failures = _between(pair, batch, settings, progress)
    else:
        with asked_question(pair, batch, settings) as question:
            found, failures = _against(replace(question, single=asked.single), pair, settings, progress, asked.tell)
    made_by = {"command": "explain", "samples": len(batch), "versions": versions()}
    artifacts = {**pair.artifacts, "data": batch.source}
    found = [replace(each, made_by=made_by, artifacts=artifacts, of_the_data=told) for each in found]
    return Explanations(tuple(found), tuple(failures))


@contextmanager
def asked_question(pair: OpenedPair, batch: Batch, settings: Settings) -> Iterator[Question]:
    """The reference with the engine that runs it; a ``.tflite`` runs in a child of its own, beside the candidate's."""
    reference, file = pair.reference.engines[0], pair.reference.file
    if file is not None:
        runs = (each.another() for each in pair.of_reference)
        with next(runs, None) or started(DEFAULT, settings.timeout) as process:
            alone: Reference = TfliteReference(file, process)
            if isinstance(reference, TurnedReference):
                alone = replace(reference, inner=alone)
            yield _asked_of(alone, pair, batch, settings)
        return
    yield _asked_of(reference, pair, batch, settings)


def _asked_of(reference: Reference, pair: OpenedPair, batch: Batch, settings: Settings) -> Question:
    candidate, model = pair.candidate.engines[0], pair.candidate.wanted("explain")
    try:
        lowering, why = reference.lower(), ""
    except BadModel as error:
        lowering, why = None, str(error)
    alignment = align_pair(reference, candidate, batch)
    names = {theirs.key: ours.name for ours, theirs in alignment.values()}
    return Question(
        reference.kind, reference.trace, lowering, model, batch, settings.tolerance, reference.notes, None, why, names
    )


def _against(
    question: Question, pair: OpenedPair, settings: Settings, progress: Progress, tell: Tell
) -> tuple[list[Explanation], list[Failure]]:
    """The account on every runtime; one that is not installed is simulated."""
    found, failures = list[Explanation](), list[Failure]()
    by_name: dict[str, Runner] = {process.runtime: process for process in pair.processes}
    for name in settings.runtimes:
        try:
            rules = by_name[name].rules if name in by_name else entry_of(name).simulated
            if rules is None:
                check_installed((name,))
            expected = predict(question, rules) if rules and tell is not unheard else None
            if expected is not None:
                tell(expected)
            explanation = explain_pair(question, by_name.get(name) or rules_of(name), progress)
        except RuntimeFailed as error:
            failures.append(Failure(name, str(error)))
            continue
        found.append(explanation if expected is None else expected.beside(explanation))
    return found, failures


def _between(
    pair: OpenedPair, batch: Batch, settings: Settings, progress: Progress
) -> tuple[list[Explanation], list[Failure]]:
    """The first runtime against each of the others.

    Raises:
        RuntimeUnavailable: one of them is not installed; nothing stands for it here.
    """
    model, processes = pair.candidate.wanted("explain"), pair.processes
    check_installed(settings.runtimes)
    if len(processes) < 2:  # noqa: PLR2004 (a pair)
        raise BadModel(f"{model.path}: the same file twice; name two runtimes: --runtime reference --runtime builtin")
    found, failures = list[Explanation](), list[Failure]()
    for process in processes[1:]:
        try:
            found.append(explain_runtimes(model, batch, (processes[0], process), settings.tolerance, progress))
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return found, failures


def same_file(left: Model | None, right: Model) -> bool:
    """Whether two models are one."""
    if left is None or left.path is None or right.path is None:
        return left is right
    return left.path == right.path or left.whole() == right.whole()
