"""The quantization parameters of two models, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantdiff.align.models import align_pair, align_weights
from quantdiff.api.engines import DEFAULTS, Opened, OpenedPair, Settings, children, open_model, open_pair
from quantdiff.api.inputs import check_inputs
from quantdiff.api.layouts import Layouts, laid_out
from quantdiff.errors import NotComparable
from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.parameters import compare_parameters
from quantdiff.experiment.trial import Trial
from quantdiff.flow import tflite_flow
from quantdiff.load.data import Batch
from quantdiff.parameters.observe import observe
from quantdiff.parameters.params import parameters
from quantdiff.parameters.quantizers import Observed, Parameters
from quantdiff.parameters.sides import ModelPair
from quantdiff.progress import Progress, silent
from quantdiff.references.reference import bound
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.data_sources import load_data
from quantdiff.run.random_input import random_batch
from quantdiff.run.versions import versions


def params(
    reference: str | Path | None,
    model: str | Path,
    data: str | Path | Batch | None = None,
    settings: Settings = DEFAULTS,
) -> Parameters:
    """Min, max, scale and zero point of every quantizer on both sides; observed values where there is data.

    The rules that make a scale of a range are the functions of ``quantdiff.nudge``, each with its source.

    Args:
        reference: the trained model, or None: then the file stands alone.
        model: the ``.tflite``.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``, samples along axis 0; or None.
        settings: the first runtime shows what comes out of the file's layers.

    Returns:
        A row per quantizer, ranges in real units, scales in real units per step, and what explains a difference.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or cannot run.
    """
    batch = None if data is None else load_data(data, model)
    if reference is None:
        with children(settings if batch is not None else replace(settings, runtimes=())) as processes:
            opened = open_model(model, settings, processes)
            answer = file_parameters(opened, batch)
    else:
        with open_pair(reference, model, settings, batch) as pair:
            answer = params_opened(pair, batch, settings.layouts)
    artifacts = {"reference": reference, "model": model, "data": batch.source if batch else None}
    return replace(answer, artifacts={name: str(value) for name, value in artifacts.items() if value is not None})


def file_parameters(opened: Opened, batch: Batch | None) -> Parameters:
    """What a file holds by itself, and what is observed of it on data."""
    model, engine = opened.wanted("params"), opened.engines[0]
    pair = ModelPair((), model.main, align_weights((), tflite_flow(model, "tflite")), Observed())
    process = engine.process if isinstance(engine, TfliteReference) else None
    if batch is not None and process is not None:
        pair = replace(pair, observed=observe(pair, None, model, batch, process))
    return replace(parameters(pair), made_by=_made_by(batch))


def params_opened(opened: OpenedPair, batch: Batch | None, layouts: Layouts = ()) -> Parameters:
    """Both sides; without data, seeded random input tells which layer is which tensor, and nothing else.

    Raises:
        NotComparable: the two are not made from each other.
        QuantdiffError: a model cannot run.
    """
    if batch is not None:
        batch, _ = check_inputs(opened, batch)
    rows = batch or random_batch(opened.candidate.wanted("params"), opened.reference.engines[0].inputs)
    opened = laid_out(opened, rows, layouts)
    model, process = opened.candidate.wanted("params"), opened.processes[0]
    reference, engine = opened.reference.engines[0], opened.candidate.engines[0]
    alignment = align_pair(reference, engine, rows)
    if alignment.unrelated:
        raise NotComparable(f"these are not the same model: {alignment.unrelated}; give the one that it was made from")
    pair = ModelPair(reference.layers(), model.main, alignment, Observed())
    if batch is not None:
        with reference.recorder() as recorder:
            pair = replace(pair, observed=observe(pair, bound(reference, recorder, batch), model, batch, process))
    return replace(parameters(pair), made_by=_made_by(batch))


def _made_by(batch: Batch | None) -> dict[str, object]:
    return {"command": "params", "samples": 0 if batch is None else len(batch), "versions": versions()}


def params_experiment(trial: Trial, settings: Settings = DEFAULTS, progress: Progress = silent) -> Parameters:
    """Train a model, calibrate QAT and TFLite on the whole training set, and compare their parameters.

    Args:
        trial: what to train, and how.
        settings: the first runtime shows what comes out of the file's layers.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        As ``params``, with accuracies (shares) and how fake-quant treats 0.0 here.

    Raises:
        QuantdiffError: the data set cannot be read, a step of the training fails, or a model does not run.
    """
    data = load_dataset(trial.data)
    with children(settings) as processes:
        answer = compare_parameters(trial, data, processes[0], progress)
    return replace(answer, made_by={**answer.made_by, "versions": versions()})
