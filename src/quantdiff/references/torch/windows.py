"""ATen's operators on images in ONNX's words: convolution, pooling, batch norm, upsampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantdiff.references.onnx.program import Node
from quantdiff.references.torch.calls import Call, text, word


@word("conv1d", "conv2d", "convolution")
def conv(call: Call) -> list[Node]:
    """A convolution; one that is transposed has no words here."""
    if call.get("transposed", default=False):
        return [call.say("aten.convolution transposed", call.given["input"])]
    axes = 1 if call.op == "conv1d" else 2
    padding = call.get("padding", default=[0])
    options = {
        "strides": _each(call.get("stride", default=[1]), axes),
        "dilations": _each(call.get("dilation", default=[1]), axes),
        "group": call.get("groups", default=1),
    }
    if isinstance(padding, bytes):
        options |= {"auto_pad": "SAME_UPPER"} if padding == b"same" else {}
    else:
        options["pads"] = _each(padding, axes) * 2
    bias = call.get("bias")
    return [call.say("Conv", call.given["input"], call.given["weight"], *([bias] if bias else []), **options)]


def _each(values: Any, axes: int) -> list[int]:
    """One entry for each axis of the image."""
    found: list[int] = list(values) if isinstance(values, list | tuple) else [values]
    return found if len(found) == axes else found * axes


@word("batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(call: Call) -> list[Node]:
    """At inference; one that learns, or has no weights, has no words here."""
    names = [call.get(name) for name in ("input", "weight", "bias", "running_mean", "running_var")]
    if call.get("training", default=False) or not all(names):
        return [call.say("aten.batch_norm in training", call.given["input"])]
    return [call.say("BatchNormalization", *names, outputs=call.outputs[:1], epsilon=call.given["eps"])]


@word("conv_transpose2d")
def conv_transpose(call: Call) -> list[Node]:
    """A transposed convolution; padding of its output leads to another size, which is seen there."""
    options: dict[str, Any] = {
        "strides": _each(call.get("stride", default=[1]), 2),
        "pads": _each(call.get("padding", default=[0]), 2) * 2,
        "dilations": _each(call.get("dilation", default=[1]), 2),
    }
    bias = call.get("bias")
    inputs = (call.given["input"], call.given["weight"], *([bias] if bias else []))
    return [call.say("ConvTranspose", *inputs, group=call.get("groups", default=1), **options)]


@word("pixel_shuffle")
def pixel_shuffle(call: Call) -> list[Node]:
    """Channels to places, those of a block last."""
    return [call.say("DepthToSpace", call.given["self"], blocksize=call.given["upscale_factor"], mode="CRD")]


@word("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d")
def pool(call: Call) -> list[Node]:
    """A window over the image."""
    axes = 1 if "1d" in call.op else 2
    taps = _each(call.given["kernel_size"], axes)
    options: dict[str, Any] = {
        "kernel_shape": taps,
        "strides": _each(call.get("stride", default=[]) or taps, axes),
        "pads": _each(call.get("padding", default=[0]), axes) * 2,
    }
    if call.op.startswith("avg"):
        counts = int(call.get("count_include_pad", default=True))
        if call.get("divisor_override") is not None:
            return [call.say("aten.avg_pool with a divisor", call.given["self"])]
        return [call.say("AveragePool", call.given["self"], count_include_pad=counts, **options)]
    options["dilations"] = _each(call.get("dilation", default=[1]), axes)
    return [call.say("MaxPool", call.given["self"], outputs=call.outputs[:1], **options)]


@word("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def global_pool(call: Call) -> list[Node]:
    """The mean of the image; of parts of it there are no words here."""
    if list(call.given["output_size"]) != [1, 1]:
        return [call.say("aten.adaptive_avg_pool2d to parts", call.given["self"])]
    return [call.say("GlobalAveragePool", call.given["self"])]


@word("pad", "constant_pad_nd")
def pad(call: Call) -> list[Node]:
    """Widths in pairs, the last axis first."""
    pairs = np.array(call.given["pad"], np.int64).reshape(-1, 2)[::-1]
    axes = call.constant(np.arange(-len(pairs), 0), "int64")
    widths = call.constant(pairs.T.reshape(-1), "int64")
    mode = text(call.get("mode"), "constant")
    return [call.say("Pad", call.given["self"], widths, call.constant(call.get("value", default=0.0)), axes, mode=mode)]


@word("upsample_nearest2d", "upsample_bilinear2d")
def upsample(call: Call) -> list[Node]:
    """Between pixels, or the nearest."""
    linear, corners = "bilinear" in call.op, call.get("align_corners", default=False)
    places = "align_corners" if corners else "half_pixel" if linear else "asymmetric"
    return [
        call.say(
            "Resize",
            call.get("self", "input"),
            mode="linear" if linear else "nearest",
            coordinate_transformation_mode=places,
            nearest_mode="floor",
        )
    ]
