"""The short way through TensorFlow's converter: the same file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantdiff.graph import Model
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import as_written, frameworks, quiet, tfmot
from quantdiff.references.keras.model import describe
from quantdiff.references.keras.reference import converter_of, lower

pytestmark = pytest.mark.keras


def branches() -> Any:
    """Two inputs, two outputs, a shared layer."""
    layers = frameworks().keras.layers
    left, right = layers.Input((6,), name="left"), layers.Input((6,), name="right")
    shared = layers.Dense(4, "relu", name="shared")
    both = layers.Concatenate()([shared(left), shared(right)])
    return frameworks().keras.Model([left, right], [layers.Dense(3, name="zeta")(both), layers.Dense(2)(both)])


def aware() -> Any:
    """Trained with fake quantization: its ranges are weights too."""
    layers = frameworks().keras.layers
    image = layers.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    model = tfmot().quantization.keras.quantize_model(frameworks().keras.Model(image, layers.Dense(3)(x)))
    model(np.random.default_rng(1).random((20, 8, 8, 1)), training=True)
    return model


def branching() -> Any:
    """A quantizer of a person's own, which does otherwise for some values: AutoGraph alone can trace it."""
    tf, layers, quantization = frameworks().tf, frameworks().keras.layers, tfmot().quantization.keras

    class Branching(quantization.quantizers.MovingAverageQuantizer):  # type: ignore[misc, name-defined]
        def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
            y = super().__call__(inputs, training, weights, **kwargs)
            if tf.reduce_max(y) > 100:
                y = -y
            return y

    class Config(quantization.QuantizeConfig):  # type: ignore[misc, name-defined]
        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return [Branching(8, per_axis=False, symmetric=False, narrow_range=False)]

        def _nothing(self, *_: Any) -> dict[str, Any]:
            return {}

        get_weights_and_quantizers = get_activations_and_quantizers = get_config = _nothing
        set_quantize_weights = set_quantize_activations = _nothing

    dense = quantization.quantize_annotate_layer(layers.Dense(3), Config())
    with frameworks().keras.utils.custom_object_scope({"Config": Config}):
        model = quantization.quantize_apply(frameworks().keras.Sequential([layers.Input((4,)), dense]))
    model(np.random.default_rng(1).random((20, 4)), training=True)
    return model


def test_a_quantizer_that_branches_is_lowered() -> None:
    with quiet():
        model = branching()
        with pytest.raises(frameworks().tf.errors.OperatorNotAllowedInGraphError), as_written():
            converter_of(model)
    lowered = lower(describe(model, "m"))
    assert {"FULLY_CONNECTED", "IF"} <= {operator.op for operator in lowered.main.operators}
    assert lowered.main.tensors[lowered.main.inputs[0]].shape_signature == (-1, 4)


@pytest.mark.parametrize("build", [branches, aware])
@pytest.mark.parametrize("optimized", [False, True])
def test_the_file_is_that_of_the_long_way(build: Callable[[], Any], optimized: bool) -> None:
    with quiet():
        model = build()
        short, long = (
            converted(made, optimized)
            for made in (converter_of(model), frameworks().tf.lite.TFLiteConverter.from_keras_model(model))
        )
    assert short.subgraphs == long.subgraphs
    assert short.signatures == long.signatures
    for one, other in zip(short.main.tensors, long.main.tensors, strict=True):
        np.testing.assert_array_equal(one.data, other.data, strict=True)


def converted(converter: Any, optimized: bool) -> Model:
    converter.optimizations = [frameworks().tf.lite.Optimize.DEFAULT] if optimized else []
    return read_model(memoryview(bytes(converter.convert())))
