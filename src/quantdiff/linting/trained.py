"""The trained model that a file was made from: its layers, and the ranges that they learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from quantdiff.graph import Model
from quantdiff.linting.registry import Location
from quantdiff.linting.wiring import is_integer_value
from quantdiff.ops import OUTPUT_RANGES, Layer

STORED = ("int2", "int4", "int8", "uint8")
"""Types of weights that are stored as integers."""
VALUES = (*OUTPUT_RANGES, "pre_activation")
"""The ranges of computed values; all others belong to weights."""


class WithLayers(Protocol):
    """What lint asks of a reference."""

    @property
    def kind(self) -> str:
        """``qat`` after quantization-aware training."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers in their order, () where the format has none."""


@dataclass(frozen=True, slots=True)
class LearnedRange:
    """One learned range; ``low`` and ``high`` are the widest where there is one per channel."""

    place: Location
    low: float
    high: float
    of_weights: bool
    behind_relu: bool


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and the file that was made from it; ``layers`` is () where its format has none.

    ``stored_samples``: how many samples of data the reference's own file carries, where its format can.
    """

    kind: str
    layers: tuple[Layer, ...]
    model: Model
    stored_samples: int = 0

    def place(self, number: int, variable: str = "") -> Location:
        """``layer 3 quant_conv post_activation_min``."""
        return Location(f"layer {number} {self.layers[number].name} {variable}".strip())

    def ranges(self) -> Iterator[LearnedRange]:
        """Every learned range, layer by layer."""
        for number, layer in enumerate(self.layers):
            for each in layer.ranges:
                name = layer.name.rpartition("/")[2] if each.name == "quantize_layer" else each.name  # as its variables
                behind = each.name in ("post_activation", "output") and is_relu(layer)
                place, of_weights = self.place(number, f"{name}_min/max"), each.name not in VALUES
                yield LearnedRange(place, min(each.low), max(each.high), of_weights, behind)

    @property
    def file_is_quantized(self) -> bool:
        """True when the file computes anything in integers."""
        tensors = (tensor for graph in self.model.subgraphs for tensor in graph.tensors)
        return any(map(is_integer_value, tensors))

    @property
    def file_has_integer_weights(self) -> bool:
        """True when the file holds any constant as scaled integers."""
        tensors = (tensor for graph in self.model.subgraphs for tensor in graph.tensors)
        return any(
            t.is_constant and t.dtype in STORED and (t.quant is not None or t.blocks is not None) for t in tensors
        )


def is_relu(layer: Layer) -> bool:
    """True for a layer that ends in a ReLU of any height and no slope below 0."""
    if layer.kind == "ReLU":
        return not float(layer.options.get("negative_slope") or 0)
    return layer.activation in ("relu", "relu6", "ReLU")
