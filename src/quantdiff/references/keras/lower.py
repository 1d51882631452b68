"""A Keras model as a float graph of TFLite operators, as TensorFlow's converter makes it.

Its folding and fusing is then on both sides; a quantization-aware model keeps its own grids as QUANTIZE and
DEQUANTIZE around float kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

from quantdiff.errors import BadModel, reason_of
from quantdiff.graph import Model
from quantdiff.load.tflite import read_model
from quantdiff.ops import INTO_INTEGERS
from quantdiff.references.keras.frameworks import as_written, frameworks, quantize_scope, quiet
from quantdiff.references.keras.frozen_graph import without_assignments
from quantdiff.references.keras.model import KerasModel, named_layers, slots_of
from quantdiff.references.keras.quantized import real_kernel, rounds_inputs, spelled_out, with_parts


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


AVERAGES = ("AVERAGE_POOL_2D", "MEAN")


def lower(keras: KerasModel) -> Model:
    """The converter without ``optimizations``, in memory; the model is as it was afterwards.

    Keras 2 and 3 alike; of a SavedModel without Keras inside, its serving signature.

    Raises:
        BadModel: the converter refuses the model, or a layer multiplies integers in a way that is not told.
    """
    failed: Exception | None = None
    named = tuple(with_parts(named_layers(keras.model)))
    layers = tuple(layer for _, layer in named)
    if untold := next((path for path, layer in named if rounds_inputs(layer) and real_kernel(layer) is None), ""):
        raise BadModel(
            f"{keras.name}: {untold} multiplies integers, as Keras' quantize has it; "
            "that is told of Dense, and of EinsumDense in int8, alone"
        )
    for make in _converters(keras):
        try:
            with quiet(), redirect_stdout(StringIO()), _scope(keras), spelled_out(layers):
                converter = make()
                converter.target_spec.supported_ops = [frameworks().tf.lite.OpsSet.TFLITE_BUILTINS]
                return without_restated_grids(read_model(memoryview(bytes(converter.convert()))))
        except Exception as error:  # the converter raises what it likes
            failed = failed or error
    assert failed is not None
    raise BadModel(
        f"{keras.name}: the TFLite converter cannot say it in its operators: {reason_of(failed)}"
    ) from failed


def without_restated_grids(model: Model) -> Model:
    """The model without what the converter adds behind a mean: the grid of what it reads once more.

    No quantizer of the trained model stands there; two that have learned the same ends to the last bit do not happen.
    """
    graph, tensors = model.main, list(model.main.tensors)
    for operator in graph.operators:
        averaged = graph.producer(operator.inputs[0]) if operator.op == INTO_INTEGERS else None
        if averaged is not None and averaged.op in AVERAGES:
            made, grid = tensors[operator.outputs[0]], graph.grid(averaged.inputs[0])
            if grid is not None and made.grid is not None and grid.params == made.grid.params:
                tensors[made.index] = replace(made, dtype="float32", quant=None)
    subgraphs = (replace(graph, tensors=tuple(tensors)), *model.subgraphs[1:])
    return replace(model, subgraphs=subgraphs)


def _converters(keras: KerasModel) -> Iterator[Callable[[], Any]]:
    """What makes the converter, tried one after the other: the next where one fails.

    A recurrent layer that is not unrolled wants to know how many samples there are: one. What the short way does not
    export, such as tables, the long way does.
    """
    lite, model, function = frameworks().tf.lite.TFLiteConverter, keras.model, getattr(keras.model, "function", None)
    if not hasattr(model, "layers") and function is not None:  # a signature, and the object that owns its variables
        yield lambda: lite.from_concrete_functions([function], model.owner)
        yield lambda: lite.from_concrete_functions([without_assignments(function)], model.owner)  # seeds are no floats
        return
    yield lambda: _as_it_is(model) if keras.kind == "qat" else converter_of(model)
    yield lambda: converter_of(model, samples=1)
    yield lambda: lite.from_keras_model(model)


def _as_it_is(model: Any) -> Any:
    """Without AutoGraph, which takes as long as all the rest; with it where a user's own quantizer branches."""
    try:
        with as_written():
            return converter_of(model)
    except Exception:
        return converter_of(model)


def _scope(keras: KerasModel) -> Any:
    """TFMOT's classes where the model may hold them; Keras 3 knows none."""
    return quantize_scope() if keras.kind == "qat" else nullcontext()
