"""Inputs that were recorded, as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, BadModel
from quantdiff.graph import Model, Tensor
from quantdiff.load.data import Batch
from quantdiff.quant import INTEGER_RANGE, Array, dequantize, quantize
from quantdiff.run.recorded import start
from quantdiff.run.runtimes import entry_of


def of_dump(path: Path, model: Model) -> Batch:
    """What a device was fed with, as data; raises as ``as_batch``.

    Raises:
        BadData: the dump is of another model, or holds no inputs.
    """
    inputs = start(entry_of(f"recorded:{path}"), 1).own_inputs(model)
    if inputs is None:
        raise BadData(f"{path}: a recording that does not hold all inputs; give the data that it was made from")
    return as_batch(model, inputs, str(path))


def as_batch(model: Model, arrays: Sequence[Array], source: str) -> Batch:
    """Recorded inputs as data in real units, that become the same integers again; one is called ``x``.

    Shapes: (samples, *shape of the input) each; the samples take the place of an axis of 1.

    Raises:
        BadModel: integers that real numbers do not say exactly.
    """
    tensors = [model.main.tensors[i] for i in model.main.inputs]
    names = ["x"] if len(tensors) == 1 else [f"{i}" for i, _ in enumerate(tensors)]
    real = [_real(tensor, array) for tensor, array in zip(tensors, arrays, strict=True)]
    return Batch(dict(zip(names, real, strict=True)), None, source)


def _real(tensor: Tensor, array: Array) -> Array:
    if tensor.shape[:1] == (1,) and array.shape[1:2] == (1,):
        array = array[:, 0]
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return array
    real = dequantize(array, tensor.quant)
    if not np.array_equal(quantize(real, tensor.quant, tensor.dtype), array):
        raise BadModel(
            f"tensor {tensor.label!r}: its {tensor.dtype} have no exact real values; cut before or behind it"
        )
    return real
