"""Run a Keras model as it is: in Keras, eagerly, in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed, reason_of
from quantdiff.load.data import Batch, bind
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import KerasModel, named_layers
from quantdiff.references.reference import Count, trace_slices, unheard
from quantdiff.trace import Trace

Intercept = Callable[[str, list[Array], Array], Array | None]


def trace_keras(model: KerasModel, batch: Batch, on_progress: Count = unheard) -> Trace:
    """Outputs of ``model`` for ``batch``, float32, in inference mode.

    A call costs less than ``predict``, which first traces the model, and gives the same floats.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    return trace_slices(model, batch, lambda rows: run_keras(model, rows), on_progress)


@contextmanager
def intercepted(model: KerasModel, intercept: Intercept) -> Iterator[None]:
    """Hand every layer's inputs and output to ``intercept`` while the block runs; what it returns goes on instead.

    None leaves the output as it is. A shared layer is handed over once per use.
    """
    layers = named_layers(model.model)
    try:
        for path, layer in layers:
            object.__setattr__(layer, "call", _interceptable(path, layer, intercept))
        yield
    finally:
        for _, layer in layers:
            vars(layer).pop("call", None)


def _interceptable(path: str, layer: Any, intercept: Intercept) -> Callable[..., Any]:
    call = layer.call

    def intercepted_call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(inputs, *args, **kwargs)
        if isinstance(output, list | tuple | dict):
            return output
        given = inputs if isinstance(inputs, list | tuple) else [inputs]
        other = intercept(path, [np.asarray(x) for x in given], np.asarray(output))
        return output if other is None else frameworks().tf.convert_to_tensor(other, output.dtype)

    return intercepted_call


def call_keras(model: KerasModel, batch: Batch) -> list[Array]:
    """Outputs of ``model`` for ``batch`` in one call, float32.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    bound = zip(bind(batch, model.inputs, model.name), model.inputs, strict=True)
    return run_keras(model, [array.astype(slot.dtype, copy=False) for array, slot in bound])


def run_keras(model: KerasModel, inputs: Sequence[Array]) -> list[Array]:
    """Outputs for one slice of samples, in the model's own order.

    Raises:
        RuntimeFailed: Keras raised an error.
    """
    with failing(model.name), quiet():
        results: Any = model.model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
    if isinstance(results, dict):
        results = [results[name] for name in model.outputs]
    return [np.asarray(result) for result in (results if isinstance(results, list | tuple) else [results])]


@contextmanager
def failing(name: str) -> Iterator[None]:
    """Errors of Keras as ours, with the model's name."""
    try:
        yield
    except Exception as error:
        raise RuntimeFailed(f"Keras failed on {name}: {reason_of(error)}") from error
