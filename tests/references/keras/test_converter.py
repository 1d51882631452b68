"""The short way through TensorFlow's converter: the same file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantdiff.graph import Model
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import as_written, frameworks, quiet, tfmot
from quantdiff.references.keras.model import describe, load_keras, objects_of
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


BRANCHING = """
import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import MovingAverageQuantizer
from tensorflow_model_optimization.quantization.keras import QuantizeConfig

class Branching(MovingAverageQuantizer):
    def __call__(self, inputs, training, weights, **kwargs):
        y = super().__call__(inputs, training, weights, **kwargs)
        if tf.reduce_max(y) > 100:
            y = -y
        return y

class Config(QuantizeConfig):
    def get_output_quantizers(self, layer):
        return [Branching(8, per_axis=False, symmetric=False, narrow_range=False)]

    def _nothing(self, *_):
        return {}

    get_weights_and_quantizers = get_activations_and_quantizers = get_config = _nothing
    set_quantize_weights = set_quantize_activations = _nothing
"""
REGISTERS = """
import sys, tf_keras
sys.path.insert(0, {folder!r})
import branching_classes as _classes
tf_keras.utils.get_custom_objects().update(Config=_classes.Config, Branching=_classes.Branching)
"""


def test_a_file_that_registers_the_classes_of_another_keeps_autograph(tmp_path: Path) -> None:
    (tmp_path / "branching_classes.py").write_text(BRANCHING)
    (tmp_path / "registers.py").write_text(REGISTERS.format(folder=str(tmp_path)))
    with quiet():
        layers, quantization = frameworks().keras.layers, tfmot().quantization.keras
        found = objects_of(tmp_path / "branching_classes.py")
        dense = quantization.quantize_annotate_layer(layers.Dense(3), found["Config"]())
        with frameworks().keras.utils.custom_object_scope(found):
            model = quantization.quantize_apply(frameworks().keras.Sequential([layers.Input((4,)), dense]))
        model(np.random.default_rng(1).random((20, 4)), training=True)
        model.save(tmp_path / "m.h5")
    try:
        read = load_keras(tmp_path / "m.h5", custom_objects=tmp_path / "registers.py")
    finally:
        for name in ("Config", "Branching"):
            frameworks().keras.utils.get_custom_objects().pop(name, None)
    assert read.kind == "qat"


def test_scipy_is_left_out_where_models_are_read_alone_and_there_for_own_code() -> None:
    code = (
        "import sys; from quantdiff.references.keras.frameworks import load_to_read, ready_for_own_code\n"
        "load_to_read(); image = sys.modules['tf_keras.src.preprocessing.image']\n"
        "assert not hasattr(image, 'scipy')\n"
        "ready_for_own_code()\n"
        "import tf_keras, numpy\n"
        "tf_keras.preprocessing.image.apply_affine_transform(numpy.zeros((8, 8, 1)), theta=20)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_whoever_trains_has_scipy() -> None:
    frameworks()
    assert hasattr(sys.modules["tf_keras.src.preprocessing.image"], "scipy")


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
