"""Run a Keras model as it is: in Keras, eagerly, in float."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed, reason_of
from quantdiff.load.data import Batch
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import quiet
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.reference import trace_slices
from quantdiff.trace import Trace


def trace_keras(model: KerasModel, batch: Batch, on_progress: Count = unheard) -> Trace:
    """Outputs of ``model`` for ``batch``, float32, in inference mode.

    A call costs less than ``predict``, which first traces the model, and gives the same floats.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    return trace_slices(model, batch, lambda rows: run_keras(model, rows), on_progress)


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
