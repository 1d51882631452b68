"""A quantization-aware copy whose activation ranges hold every value of the data, and the file made from it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.extras import require
from quantdiff.graph import Model, is_float
from quantdiff.ladder.expectation import Expectation
from quantdiff.load.data import Batch, bind
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import KerasModel, describe, flat_layers
from quantdiff.references.keras.tfmot import PACKAGE, quantize_scope

AT_ONCE = 500  # samples
UNUSED = 0.5
"""Share of its integers that an activation may leave unused before its range counts as unsettled."""


def unsettled(expected: Expectation | None) -> tuple[str, ...]:
    """Layers whose range in the file is more than twice as wide as the reference's values on the data."""
    layers = expected.layers if expected else ()
    return tuple(each.layer for each in layers if each.codes is not None and _used(each.codes) < UNUSED)


def _used(codes: Array) -> float:
    """Share of the 255 steps between the lowest and the highest integer."""
    met = np.flatnonzero(codes.sum(axis=0))
    return int(met[-1] - met[0]) / (len(codes[0]) - 1)


def recalibrated(keras: KerasModel, batch: Batch) -> KerasModel:
    """A copy in which TFMOT's moving averages are replaced by the smallest and largest value met; weights stay.

    Raises:
        BadData: the data do not fit the model's inputs.
    """
    with quiet(), quantize_scope():
        model = frameworks().keras.models.clone_model(keras.model)
        model.set_weights(keras.model.get_weights())
        for layer in flat_layers(model):
            layer.trainable = False  # a batch norm then keeps its statistics
            for variable in _averages(layer):
                variable.assign(np.zeros(variable.shape))
        inputs = bind(batch, keras.inputs, keras.name)
        with _every_value():
            for start in range(0, len(batch), AT_ONCE):
                rows = [array[start : start + AT_ONCE].astype(np.float32) for array in inputs]
                model(rows[0] if len(rows) == 1 else rows, training=True)
    return describe(model, keras.name)


def converted_like(model: Any, candidate: Model) -> Model | None:
    """The ``.tflite`` of a quantization-aware model, with ends of the candidate's type; None where it is refused."""
    lite = frameworks().tf.lite
    converter = lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [lite.Optimize.DEFAULT]
    if not is_float(candidate.main.tensors[candidate.main.inputs[0]].dtype):
        converter.inference_input_type = converter.inference_output_type = frameworks().tf.int8
    with tempfile.TemporaryDirectory(prefix="quantdiff-") as folder:
        path = Path(folder) / "recalibrated.tflite"
        try:
            with quiet():
                path.write_bytes(converter.convert())
        except Exception:  # the converter raises what it likes; there is no advice then
            return None
        return load_tflite(path)


def _averages(layer: Any) -> Iterator[Any]:
    """Min and max of every activation quantizer; those of kernels follow their values anyway."""
    names = ("pre_activation", "post_activation", "output", getattr(layer, "name", ""))
    wanted = {f"{name}_{end}" for name in names for end in ("min", "max")}
    return (v for v in layer.weights if v.name.rpartition("/")[2].partition(":")[0] in wanted)


@contextmanager
def _every_value() -> Iterator[None]:
    """Let TFMOT's moving-average quantizers keep all values, as its ``AllValuesQuantizer`` does, inside the block."""
    ops = require(f"{PACKAGE}.quant_ops", extra="keras")
    average = ops.MovingAvgQuantize

    def every_value(inputs: Any, low: Any, high: Any, *_: Any, **options: Any) -> Any:
        known = ("is_training", "num_bits", "narrow_range", "symmetric")
        return ops.AllValuesQuantize(inputs, low, high, **{k: v for k, v in options.items() if k in known})

    ops.MovingAvgQuantize = every_value
    try:
        yield
    finally:
        ops.MovingAvgQuantize = average
