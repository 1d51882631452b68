"""Run a Keras model as it is: in Keras, eagerly, in float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed
from quantdiff.load.data import Batch, bind
from quantdiff.load.frameworks import quiet
from quantdiff.load.keras import KerasModel
from quantdiff.quant import Array
from quantdiff.trace import Trace, Value

ELEMENTS_AT_ONCE, SAMPLES_AT_ONCE = 2**22, 1000


def trace_keras(model: KerasModel, batch: Batch, on_progress: Callable[[int], None] = lambda done: None) -> Trace:
    """Outputs of ``model`` for ``batch``, float32, in inference mode.

    A call costs less than ``predict``, which first traces the model, and gives the same floats.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    inputs = [
        array.astype(slot.dtype, copy=False)
        for array, slot in zip(bind(batch, model.inputs, model.name), model.inputs, strict=True)
    ]
    elements = max(1, sum(array[:1].size for array in inputs))
    size = max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // elements))
    parts: list[list[Array]] = []
    for start in range(0, len(batch), size):
        parts.append(_call(model, [array[start : start + size] for array in inputs]))
        on_progress(min(start + size, len(batch)))
    outputs = [np.concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    values = tuple(Value(name, array) for name, array in zip(model.outputs, outputs, strict=True))
    return Trace(model.kind, values, model.notes)


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
