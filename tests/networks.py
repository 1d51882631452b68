"""Whole networks of the kinds that people quantize, trained on digits of 14 × 14 pixels until their ranges settle."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from quantized_models import Made

from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.trial import Trial
from quantdiff.experiment.zoo import build, convert, seed_everything
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot

SIDE, BATCH, STEPS = 14, 32, 60
DECAY = 0.9
"""Of the moving ranges; TFMOT's own 0.999 would take thousands of steps to leave -6 … 6."""


@dataclass(frozen=True)
class Network:
    """How to build a network, on what, and whether it is trained as quantized or calibrated afterwards.

    ``int8_ends``: the file's input and output are int8, else float, as the converter leaves them in QAT.
    """

    build: Callable[[], Any]
    qat: bool = True
    int8_ends: bool = True
    target: str = "label"


def mobilenet() -> Any:
    """As MobileNetV2: inverted residuals with linear bottlenecks, one of them added to its input."""
    layers = frameworks().keras.layers
    image = layers.Input((SIDE, SIDE, 1))
    x = _relu6(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image))
    x = _inverted(x, expanded=24, out=8, strides=1)
    x = _inverted(x, expanded=24, out=12, strides=2)
    x = layers.GlobalAveragePooling2D()(_relu6(layers.Conv2D(32, 1, use_bias=False)(x)))
    return _model(image, layers.Dense(10, activation="softmax")(x))


def _relu6(x: Any) -> Any:
    layers = frameworks().keras.layers
    return layers.ReLU(6.0)(_norm(x))


def _norm(x: Any) -> Any:
    return frameworks().keras.layers.BatchNormalization(momentum=0.8)(x)


def _model(inputs: Any, outputs: Any) -> Any:
    return frameworks().keras.Model(inputs, outputs)


def _inverted(x: Any, expanded: int, out: int, strides: int) -> Any:
    layers = frameworks().keras.layers
    y = _relu6(layers.Conv2D(expanded, 1, use_bias=False)(x))
    y = _relu6(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y))
    y = _norm(layers.Conv2D(out, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if x.shape[1:] == y.shape[1:] else y


def resnet() -> Any:
    """As ResNet: a sum with a shortcut, two branches joined, average and largest pooled."""
    layers = frameworks().keras.layers
    image = layers.Input((SIDE, SIDE, 1))
    x = layers.ReLU()(_norm(layers.Conv2D(8, 3, padding="same")(image)))
    x = layers.MaxPooling2D(2)(x)
    y = layers.ReLU()(_norm(layers.Conv2D(8, 3, padding="same")(x)))
    y = _norm(layers.Conv2D(8, 3, padding="same")(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    left = layers.Conv2D(9, 3, padding="same", activation="relu")(x)
    right = layers.Conv2D(6, 1, activation="relu")(x)
    x = layers.Flatten()(layers.AveragePooling2D(2)(layers.Concatenate()([left, right])))
    return _model(image, layers.Dense(10)(x))


def ds_cnn() -> Any:
    """As the keyword spotter: a convolution, then depthwise and pointwise ones in turn, no softmax."""
    layers = frameworks().keras.layers
    image = layers.Input((SIDE, SIDE, 1))
    x = layers.ReLU()(_norm(layers.Conv2D(16, (5, 2), strides=(2, 2), padding="same")(image)))
    for _ in range(2):
        x = layers.ReLU()(_norm(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.ReLU()(_norm(layers.Conv2D(16, 1)(x)))
    x = layers.Flatten()(layers.AveragePooling2D((7, 7))(x))
    return _model(image, layers.Dense(10)(x))


def autoencoder() -> Any:
    """Dense, norm, ReLU: the converter does not fold the norm of a QAT model, and leaves float islands."""
    layers = frameworks().keras.layers
    image = x = layers.Input((SIDE * SIDE,))
    for units in (32, 8, 32):
        x = layers.ReLU()(_norm(layers.Dense(units)(x)))
    return _model(image, layers.Dense(SIDE * SIDE)(x))


def lstm() -> Any:
    """The rows of an image as a sequence."""
    layers = frameworks().keras.layers
    rows = layers.Input((SIDE, SIDE))
    return _model(rows, layers.Dense(10, activation="softmax")(layers.LSTM(12)(rows)))


def zoo_cnn() -> Any:
    """The zoo's CNN, 28 × 28."""
    return build(Trial("CNN"))


def dense4() -> Any:
    """The zoo's four dense layers, 28 × 28."""
    return build(Trial("dense4"))


NETWORKS = {
    "mobilenet": Network(mobilenet, int8_ends=False),
    "resnet": Network(resnet),
    "ds_cnn": Network(ds_cnn),
    "ds_cnn ptq": Network(ds_cnn, qat=False),
    "autoencoder": Network(autoencoder, int8_ends=False, target="itself"),
    "autoencoder ptq": Network(autoencoder, qat=False, target="itself"),
    "lstm ptq": Network(lstm, qat=False),
    "CNN": Network(zoo_cnn, int8_ends=False),
    "CNN ptq": Network(zoo_cnn, qat=False),
    "dense4": Network(dense4, int8_ends=False),
    "dense4 ptq": Network(dense4, qat=False),
}
"""Every network by name; in QAT unless the name says ``ptq``, calibrated after training."""
FEW = ("mobilenet", "autoencoder", "lstm ptq")
"""Those on which everybody runs the tests; CI takes all."""


def thorough(names: Iterable[str], few: Container[str] = FEW) -> list[Any]:
    """Parameters of a test: those that are not among the few are for thorough runs."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.thorough) for name in names]


def make_network(name: str, folder: Path) -> Made:
    """Train, quantize, convert, save: the QAT or float model as ``.h5``, the ``.tflite``, test images and labels."""
    network = NETWORKS[name]
    seed_everything(4)
    model = network.build()
    data = load_dataset("mnist-small")
    x, y = shaped(data.x_train, model.input_shape), data.y_train
    loss = "mse" if network.target == "itself" else frameworks().keras.losses.SparseCategoricalCrossentropy(True)
    with quiet():
        _fit(model, loss, x, x if network.target == "itself" else y)
        if network.qat:
            model = tfmot().quantization.keras.quantize_model(model)
            with _quick_ranges():
                _fit(model, loss, x, x if network.target == "itself" else y)
        made = Made(folder / "model.h5", folder / "model.tflite", folder / "data.npz")
        model.save(str(made.keras))
    made.tflite.write_bytes(convert(_for_one(model), x[:200] if network.int8_ends else None))
    np.savez(made.data, allow_pickle=False, x=shaped(data.x_test, model.input_shape), y=data.y_test)
    return made


def _for_one(model: Any) -> Any:
    """The model itself, or, where it holds an LSTM, a copy for one sample: the converter fuses no other."""
    keras = frameworks().keras
    if not any(isinstance(layer, keras.layers.LSTM) for layer in model.layers):
        return model
    copy = keras.models.clone_model(model, keras.layers.Input(model.input_shape[1:], batch_size=1))
    copy.set_weights(model.get_weights())
    return copy


def shaped(images: Array, shape: tuple[int | None, ...]) -> Array:
    """Images of 28 × 28 in the input's shape, the mean of each 2 × 2 pixels where it is smaller."""
    wanted = tuple(size for size in shape[1:] if size is not None)
    if np.prod(wanted) != images[0].size:
        images = images.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4), dtype=np.float32)
    return images.reshape(-1, *wanted)


def _fit(model: Any, loss: Any, x: Array, y: Array) -> None:
    model.compile(optimizer=frameworks().keras.optimizers.Adam(0.005), loss=loss, steps_per_execution=STEPS)
    model.fit(x[: STEPS * BATCH], y[: STEPS * BATCH], batch_size=BATCH, epochs=2, verbose=0)


def _quick_ranges() -> Any:
    """TFMOT's moving average with a shorter memory, while the block runs."""
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    slow = quant_ops.MovingAvgQuantize

    def quick(*tensors: Any, **options: Any) -> Any:
        return slow(*tensors, **{**options, "ema_decay": DECAY})

    return patch.object(quant_ops, "MovingAvgQuantize", quick)
