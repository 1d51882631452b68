"""What Keras 3's ``model.quantize(mode)`` made of its layers, in real numbers: kernels, and calls as floats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from quantdiff.quant import Array

ROUNDS_INPUTS = ("int8", "int4")
"""Modes in which a layer may have a quantizer for its inputs."""


def mode_of(layer: Any) -> str:
    """How a layer was quantized; "" where it was not."""
    return str(getattr(layer, "quantization_mode", None) or "")


def real_kernel(layer: Any) -> Array | None:
    """The kernel that a quantized layer multiplies by, in its own axes: (depth, units) of Dense.

    None of layers that are neither Dense nor, in int8, EinsumDense.
    """
    kind = type(layer).__name__
    if kind == "EinsumDense" and mode_of(layer) == "int8":
        scale = layer._adjust_scale_for_dequant(layer.kernel_scale)
        return np.asarray(np.asarray(layer.kernel, np.float32) / np.asarray(scale, np.float32), np.float32)
    if not mode_of(layer) or kind != "Dense":
        return None
    stored, scale = (np.asarray(part, np.float32) for part in (layer.kernel, getattr(layer, "kernel_scale", 1.0)))
    if not getattr(layer, f"is_{mode_of(layer)}_calibrated", True):  # gptq and awq: in name alone
        return stored
    if not hasattr(layer, "kernel_zero"):  # one scale for each unit, by which Keras divides
        return np.asarray(stored / scale, np.float32)
    zero, group = np.asarray(layer.kernel_zero, np.float32), np.asarray(layer.g_idx).astype(np.int64)
    if hasattr(layer, "quantized_kernel"):  # gptq and awq: (units, depth)
        real = ((stored - zero[:, group]) * scale[:, group]).T
        return np.asarray(real / np.asarray(getattr(layer, "awq_scales", np.ones(1)))[:, None], np.float32)
    return np.asarray((stored - zero[group]) * scale[group], np.float32)


def rounds_inputs(layer: Any) -> bool:
    """Whether a layer rounds what it reads, each sample on a scale of its own."""
    return mode_of(layer) in ROUNDS_INPUTS and getattr(layer, "inputs_quantizer", None) is not None


def with_parts(layers: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The layers and, by paths of their own, what stands inside of them: the products of MultiHeadAttention."""
    for path, layer in layers:
        yield path, layer
        inside = layer._flatten_layers(include_self=False) if hasattr(layer, "_flatten_layers") else ()
        yield from ((f"{path}/{part.name}", part) for part in inside)


def notes_of(layers: tuple[tuple[str, Any], ...], name: str) -> tuple[str, ...]:
    """Which layers Keras quantized, for whoever thinks that it was the whole model."""
    layers = tuple(with_parts(layers))
    modes = {path: mode_of(layer) for path, layer in layers if mode_of(layer)}
    if not modes:
        return ()
    rounded = [path for path, layer in layers if rounds_inputs(layer)]
    also = "; their inputs are rounded, each sample on a scale of its own" if rounded else ""
    which = ", ".join(modes)
    return (
        f"{name}: Keras' quantize({next(iter(modes.values()))!r}) touched {which} alone; "
        f"all other layers are float{also}",
    )


@contextmanager
def spelled_out(layers: tuple[Any, ...]) -> Iterator[None]:
    """Quantized layers computed with floats while the block traces them, which TFLite's operators can say.

    The same function: rounding the inputs gives the same integers, and a product of the real kernel the same sums but
    for float32.
    """
    own = [layer for layer in layers if real_kernel(layer) is not None]
    try:
        for layer in own:
            object.__setattr__(layer, "quantized_call", _call(layer, real_kernel(layer)))
        yield
    finally:
        for layer in own:
            object.__delattr__(layer, "quantized_call")


def _call(layer: Any, kernel: Array | None) -> Any:
    def call(inputs: Any, training: bool | None = None) -> Any:
        import keras  # noqa: PLC0415 (the model is of Keras 3, so it is there)

        del training
        if rounds_inputs(layer):
            codes, scale = layer.inputs_quantizer(inputs, axis=getattr(layer, "quantization_axis", -1))
            inputs = keras.ops.cast(codes, "float32") / scale
        product = getattr(layer, "equation", None)
        y = keras.ops.matmul(inputs, kernel) if product is None else keras.ops.einsum(product, inputs, kernel)
        y = y if layer.bias is None else y + layer.bias
        return y if layer.activation is None else layer.activation(y)

    return call
