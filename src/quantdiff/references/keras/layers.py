"""The layers of a Keras model as values: weights, ranges that training left behind, who feeds whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from quantdiff.layer import KERNEL_RANGES, BatchNorm, Layer, TrainedRange
from quantdiff.quant import Array
from quantdiff.references.keras.model import KerasModel, flat_layers

OPTIONS = ("strides", "padding", "dilation_rate", "data_format", "max_value", "negative_slope", "threshold", "groups")


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
