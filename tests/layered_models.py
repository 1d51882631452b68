"""Float Keras models for comparing layer by layer, each of which shows one thing, and their conversions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.reference import converter_of


def residual() -> Any:
    """Six small steps on a stream of one shape: every sum looks much like the one before it."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    x = given = layers.Input((6, 6, 4))
    for i in range(6):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv{i}")(x)
        y = layers.BatchNormalization(name=f"norm{i}")(y)
        y = layers.ReLU(name=f"relu{i}")(y)
        x = layers.Add(name=f"add{i}")([x, y])
    return model(given, layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D(name="pool")(x)))


def two_ends() -> Any:
    """Two inputs and two outputs, one of them a softmax."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    left, right = layers.Input((5,), name="left"), layers.Input((7,), name="right")
    x = layers.Dense(6, activation="relu", name="one")(left)
    y = layers.Dense(6, activation="tanh", name="other")(right)
    joined = layers.Concatenate(name="joined")([x, y])
    first = layers.Dense(3, name="first")(joined)
    return model([left, right], [first, layers.Dense(4, activation="softmax", name="second")(joined)])


def nested() -> Any:
    """Two inner models whose layers have the same names."""
    keras = frameworks().keras
    layers = keras.layers

    def inner(name: str) -> Any:
        given = layers.Input((8,))
        x = layers.Dense(8, activation="relu", name="dense")(given)
        return keras.Model(given, layers.Dense(8, name="out")(x), name=name)

    given = layers.Input((8,))
    x = inner("early")(given)
    return keras.Model(given, layers.Dense(3, name="last")(inner("late")(x)))


def shared() -> Any:
    """One layer used twice, on two inputs, then once more on a sum."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    one, other = layers.Input((8,), name="one"), layers.Input((8,), name="other")
    dense = layers.Dense(8, activation="relu", name="twice")
    both = layers.Add(name="both")([dense(one), dense(other)])
    return model([one, other], layers.Dense(3, name="last")(dense(both)))


def twins() -> Any:
    """Two branches that compute the same."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    given = layers.Input((8,))
    same = frameworks().keras.initializers.RandomNormal(seed=5, stddev=0.5)
    x = layers.Dense(6, activation="relu", name="castor", kernel_initializer=same)(given)
    y = layers.Dense(6, activation="relu", name="pollux", kernel_initializer=same)(given)
    return model(given, layers.Dense(3, name="last")(layers.Concatenate(name="joined")([x, y])))


def classifier() -> Any:
    """Reshapes, dropout, pooling, a separate softmax."""
    layers, keras = frameworks().keras.layers, frameworks().keras
    return keras.Sequential([
        layers.InputLayer((64,)),
        layers.Reshape((8, 8, 1), name="image"),
        layers.Conv2D(6, 3, activation="relu", name="conv"),
        layers.AveragePooling2D(2, name="pool"),
        layers.Dropout(0.5, name="drop"),
        layers.Flatten(name="flat"),
        layers.Dense(4, name="logits"),
        layers.Softmax(name="softmax"),
    ])  # fmt: skip


def dead() -> Any:
    """A layer whose ReLU never lets anything through."""
    layers, keras = frameworks().keras.layers, frameworks().keras
    low = frameworks().keras.initializers.Constant(-50.0)
    return keras.Sequential([
        layers.InputLayer((8,)),
        layers.Dense(8, activation="relu", name="alive"),
        layers.Dense(8, activation="relu", name="dead", bias_initializer=low),
        layers.Dense(3, name="last"),
    ])  # fmt: skip


def autoencoder() -> Any:
    """Dense, norm, ReLU: the converter folds none of it in a QAT model."""
    layers, keras = frameworks().keras.layers, frameworks().keras
    x = given = layers.Input((16,))
    for i, units in enumerate((12, 4, 12)):
        x = layers.Dense(units, name=f"dense{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(layers.BatchNormalization(name=f"norm{i}")(x))
    return keras.Model(given, layers.Dense(16, name="out")(x))


def build(maker: Callable[[], Any]) -> tuple[Any, dict[str, Array]]:
    """The model, its norms and biases given values, and data by the names of its inputs."""
    frameworks().keras.utils.set_random_seed(3)
    dice = np.random.default_rng(4)
    model = maker()
    for weight in model.weights:
        name = weight.name
        if "bias" in name and float(np.abs(weight).max()) == 0:
            weight.assign(dice.normal(0, 0.2, weight.shape))
        elif "gamma" in name or "variance" in name:
            weight.assign(dice.uniform(0.5, 1.5, weight.shape))
        elif "beta" in name or "mean" in name:
            weight.assign(dice.normal(0, 0.3, weight.shape))
    names = [name.partition(":")[0] for name in model.input_names]
    data = [dice.normal(0, 1, (200, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    return model, dict(zip(names, data, strict=True))


def converted(model: Any, data: dict[str, Array], kind: str) -> bytes:
    """As ``float``, ``float16``, ``dynamic``, ``int8`` (float at both ends), ``int8_ends``, ``uint8_ends``, ``int16``.

    A model of Keras 3 goes by the SavedModel that it exports.
    """
    lite = frameworks().tf.lite
    if type(model).__module__.startswith("keras."):
        with TemporaryDirectory() as folder, quiet():
            model.export(folder, verbose=False)
            return _converted(lite.TFLiteConverter.from_saved_model(folder), data, kind)
    return _converted(converter_of(model), data, kind)


def _converted(converter: Any, data: dict[str, Array], kind: str) -> bytes:
    lite = frameworks().tf.lite
    if kind != "float":
        converter.optimizations = [lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [frameworks().tf.float16]
    elif kind not in ("float", "dynamic"):
        arrays = [*data.values()]
        converter.representative_dataset = lambda: ([array[i : i + 1] for array in arrays] for i in range(100))
        wide = lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if kind == "int16" else lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind.endswith("_ends"):
        converter.inference_input_type = converter.inference_output_type = getattr(frameworks().tf, kind[:-5])
    with quiet():
        return bytes(converter.convert())


def write_all(maker: Callable[[], Any], folder: Path, *kinds: str) -> dict[str, Path]:
    """``keras``, ``data`` and each of the conversions as files."""
    model, data = build(maker)
    files = {"keras": folder / "model.keras", "data": folder / "data.npz"}
    with quiet():
        model.save(str(files["keras"]))
    np.savez(files["data"], allow_pickle=False, **data)
    for kind in kinds:
        files[kind] = folder / f"{kind}.tflite"
        files[kind].write_bytes(converted(model, data, kind))
    return files
