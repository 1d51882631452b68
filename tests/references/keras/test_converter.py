"""The short way through TensorFlow's converter: the same file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantdiff.graph import Model
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.lower import converter_of

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
