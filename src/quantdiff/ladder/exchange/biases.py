"""Biases: the stored int32 times its scale, in the bias or, where a batch norm is folded in, in the norm's shift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantdiff.graph import real_values
from quantdiff.ladder.exchange.changes import Change, Exchange, assign
from quantdiff.ladder.exchange.variables import variable_of
from quantdiff.layer import Layer
from quantdiff.parameters.folding import folded_bias
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import Array


def exchange_biases(sides: ModelPair, live: dict[str, Any]) -> Exchange:
    """Every bias, those of batch norms included, that is not the float32 number next to the stored one."""
    return Exchange(tuple(change for layer in sides.layers for change in _of_layer(sides, live, layer)))


def stored_bias(sides: ModelPair, layer: Layer) -> Array | None:
    """What the file adds per output channel, in real units, double; None for a layer that is not found there."""
    kernel, pair = sides.alignment.find(layer.name, "kernel"), sides.alignment.find(layer.name, "bias")
    if kernel is None:
        return None
    if pair is not None:
        return real_values(sides.graph.tensors[pair.tensor]).ravel()
    own = folded_bias(sides.chain(layer, kernel))
    return None if own is None else np.zeros(own.shape)


def _of_layer(sides: ModelPair, live: dict[str, Any], layer: Layer) -> Iterator[Change]:
    stored = stored_bias(sides, layer)
    chain = sides.chain(layer, sides.alignment.find(layer.name, "kernel"))
    own = folded_bias(chain)
    if stored is None or own is None or stored.shape != own.shape or np.array_equal(own, stored.astype(np.float32)):
        return
    norms = [each for each in chain if each.norm is not None]
    if not norms:
        if (bias := variable_of(live[layer.name], "bias")) is not None:
            yield assign(layer.name, bias, stored)
        return
    last = norms[-1]
    assert last.norm is not None
    if (beta := variable_of(live[last.name], "beta")) is not None:
        yield assign(layer.name, beta, last.norm.beta + (stored - own))
    elif (mean := variable_of(live[last.name], "moving_mean")) is not None:
        yield assign(layer.name, mean, last.norm.mean - (stored - own) / last.norm.factor)
