"""A Keras model as a float graph of TFLite operators: what the converter makes of it when nothing is quantized.

Its folding and fusing is then on both sides; a quantization-aware model keeps its own grids as QUANTIZE and
DEQUANTIZE around float kernels.
"""

from __future__ import annotations

from contextlib import nullcontext, redirect_stdout
from io import StringIO
from typing import Any

from quantdiff.errors import BadModel, reason_of
from quantdiff.graph import Model
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import frameworks, quantize_scope, quiet
from quantdiff.references.keras.model import KerasModel


def lower(keras: KerasModel) -> Model:
    """The converter without ``optimizations``, in memory; the model is as it was afterwards.

    Keras 2 and 3 alike; of a SavedModel without Keras inside, its serving signature.

    Raises:
        BadModel: the converter refuses the model.
    """
    failed: Exception | None = None
    for make in (_converter, _converter_of_one):
        try:
            with quiet(), redirect_stdout(StringIO()), _scope(keras):
                converter = make(keras)
                converter.target_spec.supported_ops = [frameworks().tf.lite.OpsSet.TFLITE_BUILTINS]
                return read_model(memoryview(bytes(converter.convert())))
        except Exception as error:  # the converter raises what it likes
            failed = failed or error
    assert failed is not None
    raise BadModel(
        f"{keras.name}: the TFLite converter cannot say it in its operators: {reason_of(failed)}"
    ) from failed


def _converter(keras: KerasModel) -> Any:
    """The converter of the model, or of what stands for one: a signature and the object that owns its variables."""
    lite, function = frameworks().tf.lite, getattr(keras.model, "function", None)
    if not hasattr(keras.model, "layers") and function is not None:
        return lite.TFLiteConverter.from_concrete_functions([function], keras.model.owner)
    return lite.TFLiteConverter.from_keras_model(keras.model)


def _converter_of_one(keras: KerasModel) -> Any:
    """The same for one sample at a time: a recurrent layer that is not unrolled wants to know how many there are."""
    tf = frameworks().tf
    specs = [tf.TensorSpec((1, *slot.shape[1:]), slot.dtype) for slot in keras.inputs]

    def call(*inputs: Any) -> Any:
        return keras.model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    function = tf.function(call).get_concrete_function(*specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([function], keras.model)


def _scope(keras: KerasModel) -> Any:
    """TFMOT's classes where the model may hold them; Keras 3 knows none."""
    return quantize_scope() if keras.kind == "qat" else nullcontext()
