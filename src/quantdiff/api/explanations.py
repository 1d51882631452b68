"""Why two models differ: the ladder on every runtime asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantdiff.api.engines import OpenedPair, Source, open_pair
from quantdiff.api.settings import DEFAULTS, Settings
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.ladder.expectation import Tell, unheard
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.ladder.keras_ladder import explain_keras
from quantdiff.ladder.ladder import Question
from quantdiff.ladder.runtime_ladder import explain_runtimes
from quantdiff.load.data import Batch, load_batch
from quantdiff.progress import Progress, silent
from quantdiff.run.runtimes import installed, rules_of
from quantdiff.run.versions import versions


def explain(
    reference: Source,
    candidate: Source,
    data: str | Path | Batch,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    tell: Tell = unheard,
) -> Explanations:
    """For every output of ``candidate`` that is not the reference's, the mechanism that makes it differ.

    The reference is a Keras model, or the candidate itself: then its first runtime of ``settings`` is explained
    against each of the others. A runtime that is not installed is simulated. ``tell`` hears what to expect of each
    runtime before it runs.

    Args:
        reference: ``.keras``, ``.h5`` or a SavedModel folder, float or quantization-aware; or the candidate.
        candidate: the ``.tflite`` made from it.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units.
        settings: the runtimes to explain; the tolerance counts where an output lies on no integer grid.
        progress: called with what is done, how much of it, and how much there is.
        tell: hears what to expect of each runtime, before it runs.

    Returns:
        A ladder per runtime, with every rung how many outputs still differ, as counts of outputs and as steps.

    Raises:
        QuantdiffError: a model or the data cannot be read or do not fit each other, the reference cannot run, or
            is a ``.tflite`` other than the candidate. A runtime on which the candidate fails is a ``Failure``.
    """
    batch = data if isinstance(data, Batch) else load_batch(Path(data))
    here = tuple(name for name in settings.runtimes if name in installed())
    with open_pair(reference, candidate, replace(settings, runtimes=here)) as pair:
        return explain_opened(pair, batch, settings, progress, tell)


def explain_opened(
    opened: OpenedPair, batch: Batch, settings: Settings, progress: Progress = silent, tell: Tell = unheard
) -> Explanations:
    """As ``explain``, of models that are open."""
    model, between = opened.candidate.wanted("explain"), opened.reference.file is not None
    if between:
        _check_same(Path(opened.reference.source), Path(opened.candidate.source), settings.runtimes)
    keras: Any = None if between else opened.reference.engines[0]
    question = None if between else Question(keras, model, batch, settings.tolerance)
    found, failures = list[Explanation](), list[Failure]()
    if question is not None:
        here = {process.runtime for process in opened.processes}
        absent = (rules_of(name) for name in settings.runtimes if name not in here)
        found += [explain_keras(question, each, progress, tell) for each in absent]
    for process in opened.processes[1:] if between else opened.processes:
        try:
            if question is not None:
                found.append(explain_keras(question, process, progress, tell))
            else:
                pair = opened.processes[0], process
                found.append(explain_runtimes(model, batch, pair, settings.tolerance, progress))
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    made_by = {"command": "explain", "samples": len(batch), "versions": versions()}
    artifacts = {**opened.artifacts, "data": batch.source}
    return Explanations(tuple(replace(each, made_by=made_by, artifacts=artifacts) for each in found), tuple(failures))


def _check_same(left: Path, right: Path, runtimes: Sequence[str]) -> None:
    if left.read_bytes() != right.read_bytes():
        raise BadModel(
            f"{left}: not the file {right.name}; explain wants the Keras model as reference, or the same .tflite "
            "to tell two runtimes apart; `quantdiff diff --layers` compares any two files"
        )
    if len(runtimes) < 2:  # noqa: PLR2004 (a pair)
        raise BadModel(f"{left}: the same file twice; name two runtimes: --runtime reference --runtime builtin")
