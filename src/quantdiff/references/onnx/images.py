"""Operators on images: convolutions, pools, padding, interpolation; channels stand last in TFLite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.references.onnx.builder import Builder, Order, Untranslated, channels_last, plain, translates
from quantdiff.references.onnx.program import Node, norm_factors

IMAGE = 4
"""Axes: samples, channels, height, width."""
LINE = 3
LAST: Order = channels_last(IMAGE)
SMALLEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves over rows and columns: one entry for each."""

    taps: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def window(b: Builder, node: Node, taps: Sequence[int], size: Sequence[int], out: Sequence[int]) -> Window:
    """The window of a node over an image of ``size``.

    Raises:
        Untranslated: its padding leads to another size than ``out``, as ceil_mode does.
    """
    axes = range(len(taps))
    strides = tuple(node.options.get("strides") or [1] * len(taps))
    dilations = tuple(node.options.get("dilations") or [1] * len(taps))
    reach = [(taps[i] - 1) * dilations[i] + 1 for i in axes]
    pads = list(node.options.get("pads") or [0] * 2 * len(taps))
    auto = node.options.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, (-(-size[i] // strides[i]) - 1) * strides[i] + reach[i] - size[i]) for i in axes]
        small, large = [n // 2 for n in total], [-(-n // 2) for n in total]
        pads = small + large if auto == "SAME_UPPER" else large + small
    before, after = tuple(pads[: len(taps)]), tuple(pads[len(taps) :])
    made = [(size[i] + before[i] + after[i] - reach[i]) // strides[i] + 1 for i in axes]
    if made != list(out):
        raise Untranslated("a window that reaches past the padded image (ceil_mode)")
    return Window(tuple(taps), strides, dilations, before, after)


def padded(b: Builder, x: int, found: Window, value: float | None = 0.0) -> tuple[int, str]:
    """The image as the operator takes it, and its padding: ``SAME`` where that adds the same, else added in front."""
    size, axes = b.tensors[x].shape[1:3], range(2)
    if not any((*found.before, *found.after)):
        return x, "VALID"
    reach = [(found.taps[i] - 1) * found.dilations[i] + 1 for i in axes]
    total = [max(0, (-(-size[i] // found.strides[i]) - 1) * found.strides[i] + reach[i] - size[i]) for i in axes]
    if all((found.before[i], found.after[i]) == (total[i] // 2, -(-total[i] // 2)) for i in axes):
        return x, "SAME"
    if value is None:
        raise Untranslated("a mean over a padded image")
    widths = np.array([(0, 0), *zip(found.before, found.after, strict=True), (0, 0)], np.int32)
    shape = [n + int(w.sum()) for n, w in zip(b.tensors[x].shape, widths, strict=True)]
    name = f"{b.tensors[x].name}/pad"
    if value:
        return b.emit("PADV2", (x, b.constant(widths), b.constant(np.array([value], np.float32))), shape, name), "VALID"
    return b.emit("PAD", (x, b.constant(widths)), shape, name), "VALID"


def image(b: Builder, name: str) -> int:
    """A value as TFLite takes it: channels last, a line as an image of one row."""
    rank = b.rank(name)
    if rank not in (LINE, IMAGE):
        raise Untranslated(f"an image of {rank - 2} axes")
    x = b.take(name, channels_last(rank))
    if rank == IMAGE:
        return x
    n, w, c = b.tensors[x].shape
    return b.emit("RESHAPE", (x, b.integers(n, 1, w, c)), (n, 1, w, c), b.tensors[x].name)


def give_image(b: Builder, node: Node, op: str, inputs: Sequence[int], **options: object) -> None:
    """The node's output, channels last; of a line without the one row."""
    name = node.outputs[0]
    order = channels_last(b.rank(name))
    shape = [b.shape(name)[axis] for axis in order]
    if len(shape) == IMAGE:
        b.give(node, op, inputs, order, **options)
        return
    wide = (shape[0], 1, *shape[1:])
    y = b.emit(op, inputs, wide, b.names.get(name, name), **options)
    b.hold(name, b.emit("RESHAPE", (y, b.integers(*shape)), shape, b.names.get(name, name)), order)


def _rows(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """Of rows and columns, where a line has one row."""
    return tuple(values) if len(values) == LINE - 1 else (fill, *values)


def _as_rows(found: Window) -> Window:
    return Window(
        _rows(found.taps, 1),
        _rows(found.strides, 1),
        _rows(found.dilations, 1),
        _rows(found.before, 0),
        _rows(found.after, 0),
    )


@translates("Conv")
def conv(b: Builder, node: Node) -> None:
    """Each channel by itself: DEPTHWISE_CONV_2D; else CONV_2D, groups too. Kernels (out, in / groups, h, w)."""
    kernel = b.need(node.inputs[1])
    groups, name = int(node.options.get("group", 1)), node.inputs[0]
    size, out = b.shape(name)[2:], b.shape(node.outputs[0])[2:]
    found = _as_rows(window(b, node, kernel.shape[2:], size, out))
    x, padding = padded(b, image(b, name), found)
    kernel = kernel.reshape(*kernel.shape[:2], *_rows(kernel.shape[2:], 1))
    channels, each = kernel.shape[0], b.shape(name)[1]
    by_channel = groups == each
    turned = kernel.transpose(1, 2, 3, 0) if by_channel else kernel.transpose(0, 2, 3, 1)
    bias = b.need(node.at(2)) if node.at(2) else np.zeros(channels, np.float32)
    weights = b.constant(turned, node.inputs[1]), b.constant(bias, node.at(2))
    options = {
        "padding": padding,
        "stride_h": found.strides[0],
        "stride_w": found.strides[1],
        "dilation_h_factor": found.dilations[0],
        "dilation_w_factor": found.dilations[1],
        "fused_activation_function": "NONE",
    }
    more = {"depth_multiplier": channels // each} if by_channel else {}
    give_image(b, node, "DEPTHWISE_CONV_2D" if by_channel else "CONV_2D", (x, *weights), **options, **more)


@translates("ConvTranspose")
def conv_transpose(b: Builder, node: Node) -> None:
    """TRANSPOSE_CONV as SAME or VALID; what its padding cuts off else is cut off behind. Kernels (in, out, h, w)."""
    kernel, name, get = b.need(node.inputs[1]), node.inputs[0], node.options.get
    if kernel.ndim != IMAGE or int(get("group", 1)) != 1 or any(n != 1 for n in get("dilations") or [1]):
        raise Untranslated("ConvTranspose of a line, in groups or with dilation")
    taps, strides = kernel.shape[2:], tuple(get("strides") or (1, 1))
    pads = list(get("pads") or [0] * 4)
    more = [max(0, tap - stride) for tap, stride in zip(taps, strides, strict=True)]
    same = any(pads) and pads == [n // 2 for n in more] + [-(-n // 2) for n in more]
    n, depth, *size = b.shape(node.outputs[0])
    whole = [(n - 1) * s + t for n, s, t in zip(b.shape(name)[2:], strides, taps, strict=True)]
    if not same and any(p + n > w for p, n, w in zip(pads, size, whole, strict=False)):
        raise Untranslated("ConvTranspose with more output than its window reaches")
    made = size if same else whole
    bias = b.need(node.at(2)) if node.at(2) else np.zeros(kernel.shape[1], np.float32)
    weights = b.constant(kernel.transpose(1, 2, 3, 0), node.inputs[1])
    inputs = (b.integers(n, *made, depth), weights, b.take(name, LAST), b.constant(bias, node.at(2)))
    options = {
        "padding": "SAME" if same else "VALID",
        "stride_h": strides[0],
        "stride_w": strides[1],
        "fused_activation_function": "NONE",
    }
    if made == size:
        b.give(node, "TRANSPOSE_CONV", inputs, LAST, **options)
        return
    y = b.emit("TRANSPOSE_CONV", inputs, (n, *made, depth), f"{node.outputs[0]}/whole", **options)
    b.give(node, "SLICE", (y, b.integers(0, *pads[:2], 0), b.integers(n, *size, depth)), LAST)


@translates("MaxPool", "AveragePool")
def pool(b: Builder, node: Node) -> None:
    """MAX_POOL_2D, AVERAGE_POOL_2D; padding that counts is added in front."""
    name, largest = node.inputs[0], node.op == "MaxPool"
    if len([each for each in node.outputs if each]) > 1:
        raise Untranslated("the places of the largest values")
    taps = node.options["kernel_shape"]
    found = _as_rows(window(b, node, taps, b.shape(name)[2:], b.shape(node.outputs[0])[2:]))
    if any(n != 1 for n in found.dilations):
        raise Untranslated("a pool with dilation")
    counts = bool(node.options.get("count_include_pad", 0))
    x = image(b, name)
    if counts and any((*found.before, *found.after)):
        widths = np.array([(0, 0), *zip(found.before, found.after, strict=True), (0, 0)], np.int32)
        shape = [n + int(w.sum()) for n, w in zip(b.tensors[x].shape, widths, strict=True)]
        x, padding = b.emit("PAD", (x, b.constant(widths)), shape, f"{b.tensors[x].name}/pad"), "VALID"
    else:
        x, padding = padded(b, x, found, SMALLEST if largest else None)
    give_image(
        b,
        node,
        "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D",
        (x,),
        padding=padding,
        stride_h=found.strides[0],
        stride_w=found.strides[1],
        filter_height=found.taps[0],
        filter_width=found.taps[1],
        fused_activation_function="NONE",
    )


@translates("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: Builder, node: Node) -> None:
    """MEAN or REDUCE_MAX over the image, its axes kept."""
    rank = b.rank(node.inputs[0])
    order = channels_last(rank)
    axes = b.integers(*range(1, rank - 1))
    op = "MEAN" if node.op == "GlobalAveragePool" else "REDUCE_MAX"
    b.give(node, op, (b.take(node.inputs[0], order), axes), order, keep_dims=True)


@translates("BatchNormalization")
def batch_norm(b: Builder, node: Node) -> None:
    """MUL and ADD by channel."""
    for name in node.inputs[1:5]:
        b.need(name)
    factor, offset = norm_factors(node, b.program.constants)
    name = node.inputs[0]
    order = b.order(name)
    along = [-1 if axis == 1 else 1 for axis in order]
    x = b.take(name, order)
    y = b.emit("MUL", (x, b.constant(factor.reshape(along))), b.tensors[x].shape, f"{b.tensors[x].name}/norm")
    b.give(node, "ADD", (y, b.constant(offset.reshape(along))), order)


@translates("Resize")
def resize(b: Builder, node: Node) -> None:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR, where both take the same pixels."""
    name, get = node.inputs[0], node.options.get
    have, want = b.shape(name), b.shape(node.outputs[0])
    if len(have) != IMAGE or have[:2] != want[:2]:
        raise Untranslated("a resize of more than an image")
    how, places = str(get("mode", "nearest")), str(get("coordinate_transformation_mode", "half_pixel"))
    op = {"linear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}.get(how)
    whole = all(w % h == 0 for h, w in zip(have[2:], want[2:], strict=True))
    known = {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"}
    near = how == "linear" or (places == "asymmetric" and get("nearest_mode", "round_prefer_floor") == "floor")
    centred = how == "nearest" and whole and places == "half_pixel"  # every pixel is repeated, whatever the rounding
    if op is None or places not in known or not (near or centred):
        raise Untranslated(f"a resize by {how}, {places}")
    b.give(
        node,
        op,
        (b.take(name, LAST), b.integers(*want[2:])),
        LAST,
        align_corners=places == "align_corners",
        half_pixel_centers=places.endswith("half_pixel") and how == "linear",
    )


@translates("DepthToSpace", "SpaceToDepth")
def blocks(b: Builder, node: Node) -> None:
    """The same blocks; where the channels of a block come last, its axes are moved one by one."""
    name, size = node.inputs[0], int(node.options["blocksize"])
    if node.options.get("mode", "DCR") == "DCR":
        op = "DEPTH_TO_SPACE" if node.op == "DepthToSpace" else "SPACE_TO_DEPTH"
        b.give(node, op, (b.take(name, LAST),), LAST, block_size=size)
        return
    n, c, h, w = b.shape(node.outputs[0])
    apart, moved = (n * c, size, size, h // size, w // size), (n * c, h // size, size, w // size, size)
    x = b.emit("RESHAPE", (b.take(name, plain(IMAGE)), b.integers(*apart)), apart, f"{node.outputs[0]}/blocks")
    y = b.emit("TRANSPOSE", (x, b.integers(0, 3, 1, 4, 2)), moved, f"{node.outputs[0]}/blocks")
    b.give(node, "RESHAPE", (y, b.integers(n, c, h, w)), plain(IMAGE))
