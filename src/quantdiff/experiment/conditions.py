"""What each condition of a sweep is made of: the Keras model it comes from, and the ``.tflite`` file.

Beside training there are two work-arounds: ranges that hold every value seen, and copied weights.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import Dataset
from quantdiff.experiment.study import builder, open_data
from quantdiff.experiment.trial import Source, SweepTrial, Training
from quantdiff.experiment.zoo import Calibration, TrainingFailed, run_converter
from quantdiff.quant import Array, Trace
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.model import KerasModel, describe, trace_keras
from quantdiff.references.keras.reference import converter_of
from quantdiff.run.runner import Progress, silent


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


AT_ONCE = 1000  # samples; a range holds the same values however they are sliced


def quantize_all_values(model: Any, x: Array, progress: Progress) -> Any:
    """A quantization-aware copy whose ranges are the smallest and largest value met on ``x``; weights stay as they are.

    TFMOT's ``AllValuesQuantizer`` for kernels (symmetric, narrow) and activations, fed in training mode.
    """
    keras, config = frameworks().keras, _config()
    with quiet():
        quantization = tfmot().quantization.keras

        def annotate(layer: Any) -> Any:
            return quantization.quantize_annotate_layer(layer, *([config()] if hasattr(layer, "kernel") else []))

        with quantization.quantize_scope({"AllValuesConfig": config}):
            qat = quantization.quantize_apply(keras.models.clone_model(model, clone_function=annotate))
        for start in range(0, len(x), AT_ONCE):
            qat(x[start : start + AT_ONCE], training=True)
            progress("calibrate qat", min(start + AT_ONCE, len(x)), len(x))
    return qat


def convert_calibrated(model: Any, x: Array) -> bytes:
    """The float model as int8 ``.tflite``, calibrated on all of ``x``; one scale per kernel, as TFMOT has for dense.

    Raises:
        TrainingFailed: the converter refuses the model.
    """
    tf = frameworks().tf
    converter = converter_of(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = in_slices(x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return run_converter(converter)


def in_slices(x: Array) -> Calibration:
    """All of ``x`` for calibration, in slices of one size, the last filled up with its last sample.

    Sums in another order move a range by a float ulp at most, and it is a hundred times faster than one by one.
    """

    def slices() -> Iterator[list[Array]]:
        for start in range(0, len(x), AT_ONCE):
            rows = x[start : start + AT_ONCE]
            missing = min(AT_ONCE, len(x)) - len(rows)
            yield [np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])]

    return slices


def _config() -> type:
    """TFMOT's hook for a layer: which weights and activations get which quantizer."""
    quantization = tfmot().quantization.keras

    def quantizer(*, kernel: bool) -> Any:
        return quantization.quantizers.AllValuesQuantizer(
            num_bits=8, per_axis=False, symmetric=kernel, narrow_range=kernel
        )

    class AllValuesConfig(quantization.QuantizeConfig):  # type: ignore[misc, name-defined]
        """Kernel and activation of a layer keep their whole range."""

        def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            return [(layer.kernel, quantizer(kernel=True))]

        def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            return [(layer.activation, quantizer(kernel=False))]

        def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
            (layer.kernel,) = quantize_weights

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            (layer.activation,) = quantize_activations

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            del layer
            return []

        def get_config(self) -> dict[str, Any]:
            return {}

    return AllValuesConfig


def with_copied_weights(base: Any, qat: Any) -> Any:
    """A model built as ``base``, with the float weights that quantization-aware training left; no ranges.

    Raises:
        TrainingFailed: TFMOT exchanged a layer, so that its weights have no place.
    """
    copy = frameworks().keras.models.clone_model(base)
    trained = {layer.name: layer for layer in qat.layers}
    for layer in copy.layers:
        wrapped = trained.get(f"quant_{layer.name}", trained.get(layer.name))
        own = {_last(weight): weight for weight in getattr(wrapped, "weights", ())}
        names = [_last(weight) for weight in layer.weights]
        if not own.keys() >= set(names):
            raise TrainingFailed(f"copied-ptq: the QAT model has no weights {', '.join(names)} for layer {layer.name}")
        layer.set_weights([np.asarray(own[name]) for name in names])
    return copy


def _last(weight: Any) -> str:
    return str(weight.name).rpartition("/")[2].partition(":")[0]
