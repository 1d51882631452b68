"""The layers of a Keras model as values: weights, ranges that training left behind, who feeds whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.load.keras import KerasModel, flat_layers
from quantdiff.quant import Array

KERNEL_RANGES = ("kernel", "depthwise_kernel")
OUTPUT_RANGES = ("post_activation", "output", "quantize_layer")
OPTIONS = ("strides", "padding", "dilation_rate", "data_format", "max_value", "negative_slope", "threshold", "groups")


@dataclass(frozen=True, slots=True)
class TrainedRange:
    """One quantizer of TFMOT and the range it holds: one min and max per tensor, or per channel.

    ``name`` is what the variables are called without ``_min`` and ``_max``: ``kernel``, ``post_activation``,
    ``output``, ``quantize_layer``. ``quantizer`` is the class: ``MovingAverageQuantizer``, ….
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    quantizer: str
    bits: int = 8
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """What a batch normalization has learned: ``y = (x - mean) * factor + beta``, per channel."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    @property
    def factor(self) -> Array:
        """``gamma / sqrt(variance + epsilon)``, double."""
        factor: Array = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        return factor


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, TFMOT's wrapper taken off: ``kind`` is the class inside, ``name`` the wrapper's name.

    ``inputs`` are the names of the layers that feed it. ``kernel`` and ``bias`` are the float variables.
    ``options`` are strides, padding and the like, as Keras has them.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    activation: str = "linear"
    ranges: tuple[TrainedRange, ...] = ()
    kernel: Array | None = field(default=None, compare=False, repr=False)
    bias: Array | None = field(default=None, compare=False, repr=False)
    norm: BatchNorm | None = field(default=None, compare=False, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def plain(self) -> str:
        """The name that the layer had before ``quantize_model``."""
        return self.name.removeprefix("quant_")

    def range_of(self, *names: str) -> TrainedRange | None:
        """The first range called one of ``names``."""
        return next((r for r in self.ranges if r.name in names), None)


def read_layers(model: KerasModel) -> tuple[Layer, ...]:
    """All layers in the model's order, those of nested models included; () for a bare serving signature."""
    if not hasattr(model.model, "layers"):
        return ()
    layers = [layer for layer in flat_layers(model.model) if not hasattr(layer, "layers")]
    known = {id(layer) for layer in layers}
    return tuple(_read(layer, known) for layer in layers)


def unwrapped(layer: Any) -> Any:
    """The layer inside TFMOT's wrapper, or the layer itself."""
    return layer.layer if type(layer).__name__.startswith("QuantizeWrapper") else layer


def read_layer(layer: Any) -> Layer:
    """One layer by itself: its inputs are not told."""
    return _read(layer, set())


def _read(layer: Any, known: set[int]) -> Layer:
    inner, weights = unwrapped(layer), _weights(layer)
    return Layer(
        name=layer.name,
        kind=type(inner).__name__,
        inputs=tuple(dict.fromkeys(_feeders(layer, known))),
        activation=_activation(layer, inner),
        ranges=tuple(_ranges(layer)),
        kernel=next((weights[name] for name in KERNEL_RANGES if name in weights), None),
        bias=weights.get("bias"),
        norm=_norm(inner, weights) if "moving_variance" in weights else None,
        options={name: getattr(inner, name) for name in OPTIONS if hasattr(inner, name)},
    )


def _weights(layer: Any) -> dict[str, Array]:
    return {_last(variable.name): np.asarray(variable) for variable in layer.weights}


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _feeders(layer: Any, known: set[int]) -> Iterator[str]:
    for node in getattr(layer, "_inbound_nodes", ()):
        for parent in getattr(node, "parent_nodes", ()):
            source: Any = getattr(parent, "layer", None) or getattr(parent, "operation", None)
            while hasattr(source, "layers"):  # a nested model gives what its last layer gives
                source = source.layers[-1]
            if id(source) in known:
                yield source.name


def _activation(layer: Any, inner: Any) -> str:
    aware = getattr(layer, "_quantize_activations", None)
    function = aware[0].activation if aware else getattr(inner, "activation", None)
    name = getattr(function, "__name__", type(function).__name__)
    return "linear" if function is None or name == "NoOpActivation" else str(name)


def _norm(inner: Any, weights: Mapping[str, Array]) -> BatchNorm:
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    gamma, beta = weights.get("gamma", np.ones_like(mean)), weights.get("beta", np.zeros_like(mean))
    return BatchNorm(gamma, beta, mean, variance, float(inner.epsilon))


def _ranges(layer: Any) -> Iterator[TrainedRange]:
    """Every pair of variables ``…_min`` and ``…_max``, with the quantizer that owns it."""
    variables = {_last(variable.name): np.asarray(variable).ravel() for variable in layer.weights}
    owners = dict(_quantizers(layer))
    for name, low in variables.items():
        stem = name.removesuffix("_min")
        if name.endswith("_min") and f"{stem}_max" in variables:
            owner = owners.get(stem)
            yield TrainedRange(
                "quantize_layer" if type(layer).__name__ == "QuantizeLayer" else stem,
                tuple(low.tolist()),
                tuple(variables[f"{stem}_max"].tolist()),
                type(owner).__name__,
                getattr(owner, "num_bits", 8),
                bool(getattr(owner, "narrow_range", stem in KERNEL_RANGES)),
            )


def _quantizers(layer: Any) -> Iterator[tuple[str, Any]]:
    """Stem of the variables' names → quantizer, from the places where TFMOT keeps them."""
    for weight, quantizer, _ in getattr(layer, "_weight_vars", ()):
        yield _last(weight.name), quantizer
    for activation in getattr(layer, "_quantize_activations", ()):
        yield from ((when, activation.quantizer) for when in ("pre_activation", "post_activation"))
    for quantizer in getattr(layer, "_output_quantizers", ()):
        yield "output", quantizer
    if hasattr(layer, "quantizer"):
        yield layer.name, layer.quantizer
