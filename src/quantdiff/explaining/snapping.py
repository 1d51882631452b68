"""Biases on the int32 grid of the ``.tflite``, in Keras: what a QAT model gives once nothing is left to round there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from quantdiff.align.alignment import align
from quantdiff.explaining.folding import folded_bias
from quantdiff.explaining.quantizers import Observed
from quantdiff.explaining.sides import Sides
from quantdiff.graph import Model
from quantdiff.load.frameworks import frameworks, quiet
from quantdiff.load.keras import KerasModel, describe, flat_layers
from quantdiff.load.layers import Layer, read_layers
from quantdiff.load.tfmot import quantize_scope
from quantdiff.quant import Array, round_half_away

LARGEST = 2**31 - 1  # of an int32


def snap_biases(qat: KerasModel, converted: Model) -> KerasModel:
    """A copy of ``qat`` whose biases are multiples of input scale × weight scale, as ``converted`` stores them.

    Of a layer with a batch norm folded into it, ``beta`` moves so that the folded bias lies on the grid. A bias that
    has no place of its own in the file stays as it is.
    """
    with quiet(), quantize_scope():
        model = frameworks().keras.models.clone_model(qat.model)
    model.set_weights(qat.model.get_weights())
    layers = {layer.name: layer for layer in flat_layers(model)}
    for name, variable, value in _snapped(read_layers(qat), converted):
        _variable(layers[name], variable).assign(value)
    return describe(model, qat.name)


def _snapped(layers: Sequence[Layer], converted: Model) -> Iterator[tuple[str, str, Array]]:
    """Layer, variable and new value."""
    sides = Sides(layers, converted.main, align(layers, converted), Observed())
    for layer in layers:
        pair = sides.alignment.find(layer.name, "bias")
        chain = sides.chain(layer, pair)
        before = folded_bias(chain)
        if pair is None or before is None:
            continue
        quant = converted.main.tensors[pair.tensor].quant
        if quant is None:
            continue
        after = on_bias_grid(before, np.asarray(quant.scale))
        norm = next((each for each in reversed(chain) if each.norm is not None), None)
        if norm is None or norm.norm is None:
            yield layer.name, "bias", after
        else:
            yield norm.name, "beta", norm.norm.beta + (after - before)


def on_bias_grid(bias: Array, scale: Array) -> Array:
    """The nearest multiples of ``scale`` (one, or one per channel) that an int32 can hold, in double."""
    return np.asarray(np.clip(round_half_away(bias.astype(np.float64) / scale), -LARGEST, LARGEST) * scale)


def _variable(layer: Any, name: str) -> Any:
    return next(weight for weight in layer.weights if weight.name.rpartition("/")[2].partition(":")[0] == name)
