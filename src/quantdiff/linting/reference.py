"""The Keras model that a file was made from: its layers, and the ranges that they learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantdiff.graph import Model
from quantdiff.linting.finding import Location
from quantdiff.linting.wiring import is_integer_value
from quantdiff.references.keras.model import KerasModel, flat_layers

VALUES = ("post_activation", "pre_activation", "output")
"""The stems of a wrapper's variables for computed values; all others belong to weights."""


@dataclass(frozen=True, slots=True)
class Range:
    """One learned range; ``low`` and ``high`` are the widest where there is one per channel."""

    place: Location
    low: float
    high: float
    of_weights: bool
    behind_relu: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference, with the file that was made from it."""

    keras: KerasModel
    layers: tuple[Any, ...]
    model: Model

    @classmethod
    def of(cls, keras: KerasModel, model: Model) -> Reference:
        """The reference with its layers, those of nested models included; a serving signature has none."""
        layers = tuple(flat_layers(keras.model)) if hasattr(keras.model, "layers") else ()
        return cls(keras, layers, model)

    def place(self, layer: Any, variable: str = "") -> Location:
        """``layer 3 quant_conv post_activation_min``."""
        return Location(f"layer {self.layers.index(layer)} {layer.name} {variable}".strip())

    def ranges(self) -> Iterator[Range]:
        """Every learned range, layer by layer."""
        for layer in self.layers:
            variables = {v.name.split("/")[-1].removesuffix(":0"): v for v in layer.weights}
            for name, low in variables.items():
                stem = name.removesuffix("_min")
                if name != stem and (high := variables.get(f"{stem}_max")) is not None:
                    yield self._range(layer, stem, low, high)

    def _range(self, layer: Any, stem: str, low: Any, high: Any) -> Range:
        ends = float(np.min(low.numpy())), float(np.max(high.numpy()))
        behind = stem in ("post_activation", "output") and is_relu(layer)
        of_weights = stem not in VALUES and type(layer).__name__ != "QuantizeLayer"
        return Range(self.place(layer, f"{stem}_min/max"), *ends, of_weights, behind)

    @property
    def file_is_quantized(self) -> bool:
        """True when the file computes anything in integers."""
        tensors = (tensor for graph in self.model.subgraphs for tensor in graph.tensors)
        return any(map(is_integer_value, tensors))


def is_relu(layer: Any) -> bool:
    """True for a layer, or a wrapper around one, that ends in a ReLU of any height and no slope below 0."""
    inner = getattr(layer, "layer", layer)
    if type(inner).__name__ == "ReLU":
        return not float(getattr(inner, "negative_slope", 0) or 0)
    activation = getattr(inner, "activation", None)
    activation = getattr(activation, "activation", activation)  # TFMOT wraps it
    return getattr(activation, "__name__", type(activation).__name__) in ("relu", "relu6", "ReLU")
