"""Small quantization-aware models, with ranges from made-up data, and the file made from each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.reference import converter_of


@dataclass(frozen=True)
class Made:
    """The files of one model: Keras, TFLite, data."""

    keras: Path
    tflite: Path
    data: Path

    @property
    def pair(self) -> tuple[Path, Path, Path]:
        """As ``params`` takes them."""
        return self.keras, self.tflite, self.data


def convolutions() -> Any:
    """Conv, norm, ReLU; depthwise with two outputs a channel, norm, ReLU6; a sum; pooling; softmax at the end."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.Conv2D(4, 1)(y)
    x = layers.Flatten()(layers.MaxPooling2D(2)(layers.Add()([x, y])))
    return model(image, layers.Dense(5, activation="softmax")(x))


def denses() -> Any:
    """Two dense layers, the first of which feeds two; their results are joined."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    given = layers.Input((12,))
    x = layers.Dense(6, activation="relu", name="first")(given)
    joined = layers.Concatenate()([layers.Dense(3, name="left")(x), layers.Dense(3, name="right")(x)])
    return model(given, layers.Dense(2, name="last")(joined))


def make(build: Callable[[], Any], folder: Path, *, quantized: bool = True) -> Made:
    """Give every bias and norm some values, let the ranges see the data, save, convert to int8."""
    frameworks().keras.utils.set_random_seed(1)
    dice = np.random.default_rng(2)
    model = build()
    x = dice.random((160, *model.input_shape[1:])).astype(np.float32)
    for weight in model.weights:
        if "kernel" not in weight.name:
            weight.assign(dice.uniform(0.3, 0.9, weight.shape))
    with quiet():
        if quantized:
            model = tfmot().quantization.keras.quantize_model(model)
        for _ in range(3):
            model(x, training=True)
        made = Made(folder / "model.h5", folder / "model.tflite", folder / "data.npz")
        model.save(str(made.keras))
        made.tflite.write_bytes(_converted(model, x))
    np.savez(made.data, allow_pickle=False, x=x)
    return made


def _converted(model: Any, x: Array) -> bytes:
    lite = frameworks().tf.lite
    converter = converter_of(model)
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[i : i + 20]] for i in range(0, len(x), 20))
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())
