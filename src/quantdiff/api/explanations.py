"""Why two models differ: the account on the file's own graph, on every runtime asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from quantdiff.api.engines import Source, is_tflite, name_of, open_model
from quantdiff.api.settings import DEFAULTS, Settings, children
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.ladder.pair_ladder import explain_pair
from quantdiff.ladder.prediction import Tell, predict, unheard
from quantdiff.ladder.question import Question
from quantdiff.ladder.runtime_ladder import explain_runtimes
from quantdiff.load.data import Batch, load_batch
from quantdiff.progress import Progress, silent
from quantdiff.references.keras.lower import lower
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.keras.run import trace_keras
from quantdiff.run.child import RuntimeProcess
from quantdiff.run.tflite import installed, trace_tflite
from quantdiff.run.versions import versions
from quantdiff.sim.runtime import Runtime


def explain(  # noqa: PLR0913, PLR0917 (each is a thing of its own that a caller may leave out)
    reference: Source,
    candidate: Source,
    data: str | Path | Batch,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    tell: Tell = unheard,
    single: tuple[int, int] | None = None,
) -> Explanations:
    """For the error of ``candidate``'s outputs, the operators and mechanisms that make it.

    The reference is a trained model or a float ``.tflite``; or the candidate itself: then its first runtime of
    ``settings`` is explained against each of the others. A runtime that is not installed is simulated. ``tell``
    hears what to expect of each runtime before it runs.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or a ``.tflite``; or the candidate.
        candidate: the ``.tflite`` made from it.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units.
        settings: the runtimes to explain; the tolerance counts where an output lies on no integer grid.
        progress: called with what is done, how much of it, and how much there is.
        tell: hears what to expect of each runtime, before it runs.
        single: a sample and an element of the outputs, counted from 0, whose difference is listed move by move.

    Returns:
        An account per runtime: shares of the error, and a ladder with what still differs at every rung.

    Raises:
        QuantdiffError: a model or the data cannot be read or do not fit each other, or the reference cannot run. A
            runtime on which the candidate fails is a ``Failure``.
    """
    batch = data if isinstance(data, Batch) else load_batch(Path(data))
    if not is_tflite(candidate):
        raise BadModel(
            f"{name_of(candidate)}: explain wants a .tflite as candidate; `quantdiff diff` compares trained models"
        )
    model = open_model(candidate, settings)
    assert isinstance(model, Model)
    if single is not None and not 0 <= single[0] < len(batch):
        raise BadModel(f"{batch.source}: has {len(batch)} samples, counted from 0; there is no sample {single[0]}")
    if is_tflite(reference) and _same_file(reference, candidate):
        found, failures = _between(model, batch, settings, progress)
    else:
        with _question(reference, model, batch, settings) as question:
            found, failures = _against(replace(question, single=single), settings, progress, tell)
    made_by = {"command": "explain", "samples": len(batch), "versions": versions()}
    artifacts = {"reference": name_of(reference), "candidate": name_of(candidate), "data": batch.source}
    return Explanations(tuple(replace(each, made_by=made_by, artifacts=artifacts) for each in found), tuple(failures))


@contextmanager
def _question(reference: Source, model: Model, batch: Batch, settings: Settings) -> Iterator[Question]:
    """The reference with the engine that runs it; a ``.tflite`` runs on the first runtime, in a child of its own."""
    opened = open_model(reference, settings)
    if isinstance(opened, Model):
        first = settings.runtimes[0] if settings.runtimes[0] in installed() else "xnnpack"
        with RuntimeProcess(first, timeout=settings.timeout) as process:
            trace = partial(trace_tflite, opened, process=process)
            yield Question(f"tflite:{first}", trace, opened, model, batch, settings.tolerance)
        return
    lowering, why = _lowered(opened)
    trace = partial(trace_keras, opened)
    yield Question(opened.kind, trace, lowering, model, batch, settings.tolerance, opened.notes, None, why)


def _lowered(keras: KerasModel) -> tuple[Model | None, str]:
    try:
        return lower(keras), ""
    except BadModel as error:
        return None, str(error)


def _against(
    question: Question, settings: Settings, progress: Progress, tell: Tell
) -> tuple[list[Explanation], list[Failure]]:
    """The account on every runtime; one that is not installed is simulated."""
    found, failures = list[Explanation](), list[Failure]()
    here = tuple(name for name in settings.runtimes if name in installed())
    with children(replace(settings, runtimes=here)) as processes:
        by_name: dict[str, RuntimeProcess] = {process.runtime: process for process in processes}
        for name in settings.runtimes:
            try:
                expected = predict(question, Runtime(name)) if tell is not unheard else None
                if expected is not None:
                    tell(expected)
                explanation = explain_pair(question, by_name.get(name, Runtime(name)), progress)
            except RuntimeFailed as error:
                failures.append(Failure(name, str(error)))
                continue
            found.append(explanation if expected is None else expected.beside(explanation))
    return found, failures


def _between(
    model: Model, batch: Batch, settings: Settings, progress: Progress
) -> tuple[list[Explanation], list[Failure]]:
    """The first runtime against each of the others."""
    if len(settings.runtimes) < 2:  # noqa: PLR2004 (a pair)
        raise BadModel(f"{model.path}: the same file twice; name two runtimes: --runtime reference --runtime builtin")
    found, failures = list[Explanation](), list[Failure]()
    with children(settings) as processes:
        for process in processes[1:]:
            try:
                found.append(explain_runtimes(model, batch, (processes[0], process), settings.tolerance, progress))
            except RuntimeFailed as error:
                failures.append(Failure(process.runtime, str(error)))
    return found, failures


def _same_file(left: Source, right: Source) -> bool:
    paths: Sequence[Path] = [Path(name_of(each)) for each in (left, right)]
    return paths[0] == paths[1] or (all(p.is_file() for p in paths) and paths[0].read_bytes() == paths[1].read_bytes())
