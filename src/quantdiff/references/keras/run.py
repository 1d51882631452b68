"""Run a Keras model as it is: in Keras, eagerly, in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed
from quantdiff.load.data import Batch, bind
from quantdiff.load.mapped import release
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import KerasModel, flat_layers
from quantdiff.trace import Trace, Value

Visit = Callable[[str, list[Array], Array], None]
Intercept = Callable[[str, list[Array], Array], Array | None]

ELEMENTS_AT_ONCE, SAMPLES_AT_ONCE = 2**22, 1000


def trace_keras(model: KerasModel, batch: Batch, on_progress: Callable[[int], None] = lambda done: None) -> Trace:
    """Outputs of ``model`` for ``batch``, float32, in inference mode.

    A call costs less than ``predict``, which first traces the model, and gives the same floats.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    parts: list[list[Array]] = []
    for rows in _slices(model, batch):
        parts.append(_call(model, rows))
        on_progress(sum(len(part[0]) for part in parts))
    outputs = [np.concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    values = tuple(Value(name, array) for name, array in zip(model.outputs, outputs, strict=True))
    return Trace(model.kind, values, model.notes)


def watch_layers(model: KerasModel, batch: Batch, visit: Visit) -> tuple[Array, ...]:
    """Run ``model`` and show ``visit`` every layer's inputs and output, slice by slice; gives the model's outputs.

    A shared layer is shown once per use. Nothing is kept: memory does not grow with the data.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    with intercepted(model, visit):
        parts = [_call(model, rows) for rows in _slices(model, batch)]
    return tuple(np.concatenate([part[i] for part in parts]) for i in range(len(parts[0])))


@contextmanager
def intercepted(model: KerasModel, intercept: Intercept) -> Iterator[None]:
    """Hand every layer's inputs and output to ``intercept`` while the block runs; what it returns goes on instead.

    None leaves the output as it is. A shared layer is handed over once per use.
    """
    layers = [layer for layer in flat_layers(model.model) if not hasattr(layer, "layers")]
    try:
        for layer in layers:
            object.__setattr__(layer, "call", _interceptable(layer, intercept))
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def _interceptable(layer: Any, intercept: Intercept) -> Callable[..., Any]:
    call = layer.call

    def intercepted_call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(inputs, *args, **kwargs)
        if isinstance(output, list | tuple | dict):
            return output
        given = inputs if isinstance(inputs, list | tuple) else [inputs]
        other = intercept(layer.name, [np.asarray(x) for x in given], np.asarray(output))
        return output if other is None else frameworks().tf.convert_to_tensor(other, output.dtype)

    return intercepted_call


def call_keras(model: KerasModel, batch: Batch) -> list[Array]:
    """Outputs of ``model`` for ``batch`` in one call, float32.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    return _call(model, _bound(model, batch))


def _bound(model: KerasModel, batch: Batch) -> list[Array]:
    return [
        array.astype(slot.dtype, copy=False)
        for array, slot in zip(bind(batch, model.inputs, model.name), model.inputs, strict=True)
    ]


def _slices(model: KerasModel, batch: Batch) -> Iterator[list[Array]]:
    """The data as the model's inputs, as many samples at once as memory bears."""
    inputs = bind(batch, model.inputs, model.name)
    elements = max(1, sum(array[:1].size for array in inputs))
    size = max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // elements))
    for start in range(0, len(batch), size):
        pairs = zip(inputs, model.inputs, strict=True)
        yield [array[start : start + size].astype(slot.dtype, copy=False) for array, slot in pairs]
        release(inputs)


def _call(model: KerasModel, inputs: list[Array]) -> list[Array]:
    try:
        with quiet():
            results: Any = model.model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RuntimeFailed(f"Keras failed on {model.name}: {first[:200]}") from error
    if isinstance(results, dict):
        results = [results[name] for name in model.outputs]
    if not isinstance(results, list | tuple):
        results = [results]
    return [np.asarray(result) for result in results]
