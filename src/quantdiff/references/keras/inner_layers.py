"""The sums of products inside a layer: the gates of recurrent layers, the projections of attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantdiff.layer import Layer
from quantdiff.quant import Array
from quantdiff.references.gates import DENSE, gates
from quantdiff.references.keras.quantized import real_kernel

RECURRENT = ("LSTM", "GRU", "SimpleRNN")


def inner_layers(path: str, layer: Any) -> Iterator[Layer]:
    """What stands inside a layer, by paths of its own; kernels as (units, depth), as TFLite has them."""
    kind = type(layer).__name__.removesuffix("Cell")
    if kind in RECURRENT and hasattr(cell := getattr(layer, "cell", layer), "recurrent_kernel"):
        yield from _recurrent(path, kind, cell)
        return
    for part in _parts(layer):
        if type(part).__name__ == "EinsumDense":
            yield _projection(f"{path}/{part.name}", part)
        else:
            yield from inner_layers(f"{path}/{part.name}", part)


def _parts(layer: Any) -> list[Any]:
    """The layers directly inside, each once: of Keras 2 and of Keras 3."""
    found = getattr(layer, "_flatten_layers", None)
    inside = found(recursive=False, include_self=False) if found is not None else ()
    return list({id(part): part for part in inside if part.weights}.values())


def _recurrent(path: str, kind: str, cell: Any) -> Iterator[Layer]:
    """``bias`` of a GRU that resets after the product has a row for each of the two kernels."""
    kernels = [np.asarray(each).T for each in (cell.kernel, cell.recurrent_kernel)]
    bias = None if getattr(cell, "bias", None) is None else np.atleast_2d(np.asarray(cell.bias))
    return gates(path, kind, kernels, [None if bias is None or row >= len(bias) else bias[row] for row in (0, 1)])


def _projection(path: str, part: Any) -> Layer:
    """``abc,cde->abde`` sums over what the first two share."""
    data, _, rest = part.equation.partition(",")
    summed = sum(letter in data for letter in rest.partition("->")[0])
    own, bias = real_kernel(part), getattr(part, "bias", None)
    kernel = np.asarray(part.kernel) if own is None else own
    flat: Array = kernel.reshape(int(np.prod(kernel.shape[:summed])), -1).T
    return Layer(path, "EinsumDense", (), kernel=flat, bias=None if bias is None else np.ravel(bias), op=DENSE)
