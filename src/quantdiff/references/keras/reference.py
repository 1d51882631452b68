"""A Keras model as all that the rest of the house may ask of a reference, its float graph of TFLite operators too.

That graph is as TensorFlow's converter makes it, so that its folding and fusing is on both sides; a
quantization-aware model keeps its own grids as QUANTIZE and DEQUANTIZE around float kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel, reason_of
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.ops import INTO_INTEGERS, Layer
from quantdiff.quant import Array, Trace
from quantdiff.recording import Recorder
from quantdiff.references.formats import PLAIN, Options
from quantdiff.references.keras.frameworks import (
    as_written,
    frameworks,
    quantize_scope,
    quiet,
    real_kernel,
    rounds_inputs,
    spelled_out,
    with_parts,
)
from quantdiff.references.keras.frozen_graph import GraphRecorder, layers_of, without_assignments
from quantdiff.references.keras.layers import read_layers, written_with
from quantdiff.references.keras.model import (
    KerasModel,
    Signature,
    describe,
    load_keras,
    named_layers,
    slots_of,
    trace_keras,
)
from quantdiff.references.keras.recorder import KerasRecorder
from quantdiff.run.runner import Count, unheard


@dataclass(frozen=True, slots=True)
class KerasReference(KerasModel):
    """A Keras model or, where a SavedModel holds none, its signature."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers; of a signature the operators of its graph that have weights."""
        return layers_of(self) if isinstance(self.model, Signature) else read_layers(self)

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs, float32, in inference mode.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: Keras raised an error.
        """
        return trace_keras(self, batch, on_progress)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with every layer's output; of a signature every value of its graph."""
        return GraphRecorder(self) if isinstance(self.model, Signature) else KerasRecorder(self)

    def lower(self) -> Model | None:
        """Its float graph of TFLite operators, by the converter without optimizations.

        Raises:
            BadModel: the converter refuses it.
        """
        return lower(self)

    def settled(self, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """The bytes of an ``.h5`` with other values in its variables.

        Raises:
            BadModel: Keras cannot write it so.
        """
        return written_with(self, variables)


def open_keras(source: Any, options: Options = PLAIN) -> KerasReference:
    """A model by its path, described or as Keras has it in memory.

    Raises:
        BadModel: it cannot be read, or was never built.
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    if isinstance(source, Path):
        source = load_keras(source, allow_lambda=options.allow_lambda, custom_objects=options.custom_objects)
    facts = source if isinstance(source, KerasModel) else describe(source, str(source.name))
    return KerasReference(facts.name, facts.kind, facts.inputs, facts.outputs, facts.model, facts.notes)


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
