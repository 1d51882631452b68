"""TensorFlow's converter of a Keras model, without the export of what the converter never reads."""

from __future__ import annotations

from typing import Any

from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.model import slots_of


def converter_of(model: Any, samples: int | None = None) -> Any:
    """``TFLiteConverter.from_keras_model(model)``, in a quarter of its time; for ``samples``, or as it is built.

    With a model of Keras 2 that exports the functions of every layer first. Here only the call in inference mode and
    the weights are exported: the file has the same operators, constants, names and signature. Keras 3, which does so
    itself, and what has no inputs of its own go the long way.
    """
    tf, held = frameworks().tf, model
    if isinstance(model, frameworks().keras.Model) and model.inputs:
        held = tf.Module()
        held.held = list(model.weights)
    elif samples is None:
        return tf.lite.TFLiteConverter.from_keras_model(model)
    specs = [
        tf.TensorSpec((samples or slot.shape[0], *slot.shape[1:]), slot.dtype, slot.name) for slot in slots_of(model)
    ]

    def call(*inputs: Any) -> Any:
        results = model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
        return dict(zip(model.output_names, tf.nest.flatten(results), strict=True)) if held is not model else results

    return tf.lite.TFLiteConverter.from_concrete_functions([tf.function(call).get_concrete_function(*specs)], held)
