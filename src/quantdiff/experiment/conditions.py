"""What each condition of a sweep is made of: the Keras model it comes from, and the ``.tflite`` file."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quantdiff.experiment import zoo
from quantdiff.experiment.builders import builder, open_data
from quantdiff.experiment.calibrated import in_slices
from quantdiff.experiment.copying import with_copied_weights
from quantdiff.experiment.datasets import Dataset
from quantdiff.experiment.sweep_trial import Source, SweepTrial, Training
from quantdiff.quant import Trace
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.model import KerasModel, describe, trace_keras
from quantdiff.run.runner import silent


@dataclass(frozen=True, slots=True)
class Trained:
    """The baseline and its quantization-aware copy."""

    base: Any
    qat: Any


@lru_cache(maxsize=1)
def dataset(source: Source, *, digits: bool) -> Dataset:
    """The data, read once a process."""
    return open_data(source, digits=digits)


def data_of(training: Training) -> Dataset:
    """The data that a training is done on; a person's own model takes images of any shape."""
    return dataset(training.data, digits=not training.model.path)


@lru_cache(maxsize=1)
def trained(training: Training) -> Trained:
    """Both models, trained in the order and with the seed that ``quantdiff run`` has; kept for the next condition.

    Sums in float depend on how many threads share them, so one thread does the work, on any machine.
    """
    one_thread()
    gc.collect()  # models are cycles, and hold their data: those of the training before
    data = data_of(training)
    base = zoo.train_float(builder(training), training.seed, training.epochs, data, silent)
    return Trained(base, zoo.quantize_aware(base, data, silent))


def one_thread() -> None:
    """Tell TensorFlow so; a worker has done nothing else with it before.

    Raises:
        TrainingFailed: it is at work already, with more threads.
    """
    threading = frameworks().tf.config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        try:
            threading.set_intra_op_parallelism_threads(1)
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise zoo.TrainingFailed(
                "TensorFlow works in this process already, with several threads, so that results would depend on "
                "the machine; give sweep worker processes"
            ) from error


def source_of(condition: str, training: Training) -> KerasModel:
    """The Keras model that the condition is, or that its ``.tflite`` is converted from."""
    models = trained(training)
    if condition == "copied-ptq":
        return describe(with_copied_weights(models.base, models.qat), training.model.name)
    return describe(models.base if condition in ("float", "ptq") else models.qat, training.model.name)


@lru_cache(maxsize=2)
def trace_of(training: Training, engine: str) -> Trace:
    """Outputs of ``float`` or ``qat`` for the test part; several conditions are held against them."""
    return trace_keras(source_of(engine, training), data_of(training).test)


@lru_cache(maxsize=1)
def qat_file(training: Training) -> bytes:
    """The ``.tflite`` of ``qat-tflite``, whose grid ``qat`` and ``qat-bias`` are counted on."""
    return zoo.convert(trained(training).qat, None, integer_ends=True)


def file_of(trial: SweepTrial, source: KerasModel) -> bytes:
    """The condition's ``.tflite``, int8 throughout.

    ``train`` calibrates on the first 1,000 training images one by one, as ``run`` does; ``test`` on the whole test
    part, the very samples that are evaluated.
    """
    if not trial.calibration:
        return qat_file(trial.training)
    data = data_of(trial.training)
    if trial.calibration == "train":
        return zoo.convert(source.model, data.x_train)
    return zoo.convert(source.model, data.x_test, feed=in_slices)
