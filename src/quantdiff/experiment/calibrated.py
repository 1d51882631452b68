"""Quantization without training: ranges that hold every value seen, on both sides from the same data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantdiff.experiment.zoo import Calibration, run_converter
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.reference import converter_of
from quantdiff.run.runner import Progress

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
