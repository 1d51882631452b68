"""The quantization parameters of two models, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantdiff.align.alignment import align
from quantdiff.api.engines import is_tflite
from quantdiff.api.settings import DEFAULTS, Settings, children
from quantdiff.errors import BadModel
from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.parameters import compare_parameters
from quantdiff.experiment.trial import Trial
from quantdiff.load.data import Batch, load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.observe import observe
from quantdiff.parameters.params import parameters
from quantdiff.parameters.quantizers import Observed, Parameters
from quantdiff.parameters.sides import ModelPair
from quantdiff.progress import Progress, silent
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import KerasModel, load_keras
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
        reference: the Keras model, or None: then the file stands alone.
        model: the ``.tflite``.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``, samples along axis 0; or None.
        settings: the first runtime shows what comes out of the file's layers.

    Returns:
        A row per quantizer, ranges in real units, scales in real units per step, and what explains a difference.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or cannot run.
    """
    batch = load_batch(Path(data)) if isinstance(data, str | Path) else data
    converted = load_tflite(model)
    keras = None if reference is None else _open_reference(Path(reference), settings)
    layers = () if keras is None else read_layers(keras)
    with children(settings if batch is not None else replace(settings, runtimes=())) as processes:
        seen = Observed() if batch is None else observe(keras, layers, converted, batch, processes[0])
    made_by = {"command": "params", "samples": 0 if batch is None else len(batch), "versions": versions()}
    artifacts = {"reference": reference, "model": model, "data": batch.source if batch else None}
    return replace(
        parameters(ModelPair(layers, converted.main, align(layers, converted), seen)),
        made_by=made_by,
        artifacts={name: str(value) for name, value in artifacts.items() if value is not None},
    )


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


def _open_reference(path: Path, settings: Settings) -> KerasModel:
    if is_tflite(path):
        raise BadModel(
            f"{path}: params wants the Keras model as reference: a .keras or .h5 file or a SavedModel folder"
        )
    return load_keras(path, allow_lambda=settings.allow_lambda)
