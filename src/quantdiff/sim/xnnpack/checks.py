"""What XNNPACK checks of an operator: its tensors, and shapes, options and constants where these decide.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``CheckTensor…``, ``Visit…Node``,
``VisitMediaPipe…Node``). No kernel but XNNPACK's computes MediaPipe's operators. Their options are a struct of C,
``TfLiteTransposeConvParams`` or ``TfLitePoolParams``; of one that is too short the rest counts as zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack

import numpy as np

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.quant import Array
from quantdiff.sim.accumulate import Axis
from quantdiff.sim.node import Node, is_quantized, scale_of, zero_point_of

FLOAT = ("float32", "float16")
EIGHT_BIT = ("int8", "uint8")
UNPACKERS, SPARSE = ("DEQUANTIZE", "DENSIFY"), ("float16", "float32", "int8")


def activation(tensor: Tensor | None) -> bool:
    """Float, or 8 bits with one scale (``CheckTensorFloatOrQUInt8Type``)."""
    return tensor is not None and (tensor.dtype in FLOAT or eight_bit(tensor))


def eight_bit(tensor: Tensor) -> bool:
    """8 bits with one scale, whose dimension must be written as 0 (``CheckTensorQInt8OrQUInt8Type``)."""
    if not is_quantized(tensor, *EIGHT_BIT) or tensor.quant is None:
        return False
    return len(tensor.quant.scale) == 1 and tensor.stored_axis == 0


def is_float(tensor: Tensor | None) -> bool:
    """Float of 32 or 16 bits."""
    return tensor is not None and tensor.dtype in FLOAT


def constant(tensor: Tensor | None) -> bool:
    """Stored in the file (``CheckTensorStaticAllocation``)."""
    return tensor is not None and tensor.is_constant


def all_float(node: Node) -> bool:
    """Ops that XNNPACK takes in float only."""
    return all(is_float(tensor) for tensor in (*node.inputs, *node.outputs))


def all_activations(node: Node) -> bool:
    """Every tensor is an activation that XNNPACK can hold."""
    return all(activation(tensor) for tensor in (*node.inputs, *node.outputs))


def in_and_out(node: Node) -> bool:
    """First input and outputs are activations that XNNPACK can hold, other inputs constants."""
    return activation(node.inputs[0]) and all(map(activation, node.outputs)) and all(map(constant, node.inputs[1:]))


def ratio(node: Node, position: int = 0) -> float:
    """Scale of an input over the output's, in float32."""
    return float(scale_of(node.at(position)) / scale_of(node.y))


def weights(tensor: Tensor, axis: int) -> bool:
    """Float, 8 bits per tensor, or int8 along ``axis`` (``CheckTensorFloat32OrQCInt8Type``)."""
    if tensor.dtype in FLOAT or eight_bit(tensor):
        return True
    return is_quantized(tensor, "int8") and tensor.quant is not None and tensor.quant.axis in (None, axis)


def static(node: Node, position: int) -> bool:
    """A constant, or what the delegate unpacks from one (its ``quasi_static_tensors``)."""
    tensor = node.at(position)
    return tensor.is_constant or (node.graph is not None and is_unpacked(node.graph, tensor.index))


def is_unpacked(graph: Graph, tensor: int) -> bool:
    """Whether the delegate could make this tensor when it is set up (``PrepareOpsToDelegate``)."""
    maker = graph.producer(tensor)
    return maker is not None and unpacks(graph, maker)


def unpacks(graph: Graph, operator: Operator) -> bool:
    """DEQUANTIZE of stored or unpacked float16 or int8, or DENSIFY of what is stored with gaps."""
    if operator.op not in UNPACKERS or len(operator.inputs) != 1 or len(operator.outputs) != 1:
        return False
    x, y = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if operator.op == "DENSIFY":
        return x.is_constant and x.sparsity is not None and x.dtype == y.dtype and x.dtype in SPARSE
    known = x.is_constant or is_unpacked(graph, x.index)
    narrow = x.dtype == "float16" or is_quantized(x, "int8")
    return known and narrow and x.sparsity is None and y.dtype == "float32"


def bias(node: Node, position: int = 2) -> bool:
    """Static, and float or int32 with a scale (``CheckTensorFloat32OrFloat16OrQCInt32Type``)."""
    tensor = node.inputs[position]
    known = tensor is not None and static(node, position)
    return known and (is_float(tensor) or is_quantized(node.at(position), "int32"))


def same_type(node: Node) -> bool:
    """All tensors are activations of one type."""
    return all_activations(node) and len({t.dtype for t in (*node.inputs, *node.outputs) if t}) == 1


def same_quantization(node: Node) -> bool:
    """Input and output share scale and zero point, or are float."""
    if is_float(node.x):
        return is_float(node.y)
    return scale_of(node.x) == scale_of(node.y) and zero_point_of(node.x) == zero_point_of(node.y)


LEAST_BLOCK = 32
"""Weights that a block has at least, and a multiple of them (``CheckTensorFilterType``)."""
IMAGE = 4
MAX_DIMS, MAX_SPLITS = 6, 4
"""``XNN_MAX_TENSOR_DIMS``, and the parts that SPLIT may have."""
POOL_SIDES = (("h", "height"), ("w", "width"))


def images(*tensors: Tensor) -> bool:
    """Four dimensions in the file (``CheckTensorShape``): the delegate asks before any operator has told its shape."""
    return all(len(tensor.shape) == IMAGE for tensor in tensors)


def ranked(node: Node) -> bool:
    """``VisitPadNode``, ``VisitTransposeNode``: both ends have dimensions in the file, as many as there may be."""
    return in_and_out(node) and all(0 < len(tensor.shape) <= MAX_DIMS for tensor in (node.x, node.y))


def resize(node: Node) -> bool:
    """``VisitResizeBilinearNode``."""
    return in_and_out(node) and images(node.x, node.y)


def convolution(node: Node, axis: int) -> bool:
    """``VisitConv2DNode``, ``VisitDepthwiseConv2DNode``: a bias is required."""
    if len(node.inputs) != 3 or not bias(node):  # noqa: PLR2004 (x, weights, bias)
        return False
    x, w, y = node.x, node.at(1), node.y
    typed = x.dtype == y.dtype and (w.dtype == x.dtype or (w.dtype, x.dtype) == ("int8", "float32"))
    return activation(x) and activation(y) and images(x, y) and static(node, 1) and weights(w, axis) and typed


def depthwise(node: Node) -> bool:
    """``VisitDepthwiseConv2DNode``: a depth multiplier is written, and divides the channels; one type for all."""
    multiplier = int(node.option("depth_multiplier", 0))
    divides = multiplier > 0 and node.at(1).shape[3] % multiplier == 0
    return node.at(1).dtype == node.x.dtype and divides and convolution(node, 3)


def fully_connected(node: Node) -> bool:
    """``VisitFullyConnectedNode``: int8 weights with zero point 0, packed ones in whole bytes; perhaps no bias."""
    x, w, y = node.x, node.at(1), node.y
    biased = len(node.inputs) > 2 and node.inputs[2] is not None  # noqa: PLR2004 (the third input)
    if not (activation(x) and activation(y) and x.dtype == y.dtype and static(node, 1)):
        return False
    if biased and not bias(node):
        return False
    if w.dtype == x.dtype and w.dtype in FLOAT:
        return True
    if w.dtype == "uint8":
        return x.dtype == "uint8" and eight_bit(w)
    narrow = w.dtype in ("int8", "int4", "int2") and x.dtype in ("int8", "float32")
    per_channel = w.blocks is not None or (w.quant is not None and w.quant.axis in (None, 0))
    symmetric = w.dtype != "int8" or x.dtype in FLOAT or not any(w.quant.zero_point if w.quant else ())
    if w.blocks is not None and (w.dtype != "int4" or w.blocks.block_size % LEAST_BLOCK):
        return False
    whole_bytes = w.shape[-1] % {"int4": 2, "int2": 4}.get(w.dtype, 1) == 0
    by_channel = w.dtype != "int2" or (w.quant is not None and len(w.quant.scale) == w.shape[0])
    return narrow and per_channel and symmetric and whole_bytes and by_channel


def transpose_conv(node: Node) -> bool:
    """``VisitTransposeConvNode``: inputs are the output shape, weights, x and perhaps a bias."""
    shape, w, x = node.at(0), node.at(1), node.at(2)
    biased = len(node.inputs) > 3 and node.inputs[3] is not None  # noqa: PLR2004 (the fourth input)
    typed = x.dtype == node.y.dtype and (w.dtype == x.dtype or (w.dtype, x.dtype) == ("int8", "float32"))
    stored = constant(shape) and static(node, 1) and weights(w, 0) and (not biased or bias(node, 3))
    fits = images(x, node.y) and all(fits_transposed(node, axis) for axis in (1, 2))
    return stored and typed and activation(x) and fits


def fits_transposed(node: Node, axis: int) -> bool:
    """One image axis of it."""
    shape, taps, have = node.at(0).data, node.at(1).shape[axis], node.at(2).shape[axis]
    stride, want = int(node.option(f"stride_{' hw'[axis]}", 1)), 0 if shape is None else int(shape[axis])
    return padded_transposed(node.option("padding") == "SAME", stride, taps, have, want)


def padded_transposed(same: bool, stride: int, taps: int, have: int, want: int) -> bool:
    """``CalculateTransposeConvPaddings``: whether an output of that size can be had."""
    return -(-want // stride) == have and taps >= stride if same else taps <= want


def max_pool(node: Node) -> bool:
    """``CheckPoolingParams``: no stride beyond the window."""
    return all_activations(node) and _inside(node)


def average_pool(node: Node) -> bool:
    """The same, of floats alone."""
    return all_float(node) and _inside(node)


def _inside(node: Node) -> bool:
    return all(int(node.option(f"stride_{s}", 1)) <= int(node.option(f"filter_{f}", 1)) for s, f in POOL_SIDES)


def reshape(node: Node) -> bool:
    """``VisitReshapeNode``: equal quantization, a constant shape, and not the legacy shape of one unknown."""
    if not (activation(node.x) and activation(node.y) and same_quantization(node)):
        return False
    if len(node.x.shape) > MAX_DIMS or len(node.y.shape) > MAX_DIMS:
        return False
    if len(node.inputs) > 1:
        shape = node.at(1)
        if shape.data is None or shape.dtype != "int32":
            return False
        wanted = shape.data.reshape(-1).tolist()
    else:
        wanted = list(node.option("new_shape", ()))
    return bool(wanted) and wanted not in ([-1], [0])


def strided_slice(node: Node) -> bool:
    """``VisitStridedSliceNode``: every stride 1, and no mask but begin and end."""
    masks = any(int(node.option(f"{name}_mask", 0)) for name in ("ellipsis", "new_axis", "shrink_axis"))
    strides = node.at(3).data
    if masks or strides is None or not in_and_out(node):
        return False
    return bool((strides == 1).all()) and strides.size == len(node.x.shape)


def slice_(node: Node) -> bool:
    """``VisitSliceNode``: begins from 0 up, sizes from 1 up."""
    begin, size = node.at(1).data, node.at(2).data
    if begin is None or size is None or not in_and_out(node):
        return False
    return bool((begin >= 0).all() and (size > 0).all())


def split(node: Node) -> bool:
    """``VisitSplitNode``: two to four outputs along a constant axis."""
    held = activation(node.inputs[1]) and all(map(activation, node.outputs))
    return held and constant(node.inputs[0]) and 2 <= len(node.outputs) <= MAX_SPLITS  # noqa: PLR2004


def space_to_depth(node: Node) -> bool:
    """``VisitSpaceToDepthNode``: whole blocks."""
    block = int(node.option("block_size", 1))
    return all_activations(node) and block > 1 and all(size % block == 0 for size in node.x.shape[1:3])


TILES = (3, 4, 9, 25)


def unused_taps(image: Array, axes: tuple[Axis, Axis]) -> Iterator[Array]:
    """What each tap too many reads. Shapes: padded image (n, h, w, c) -> (n, out_h, out_w, c), one a tap."""
    rows, columns = axes
    taps = rows.taps * columns.taps
    step = rows.taps * (min(columns.stride, columns.taps) if columns.dilation == 1 else columns.taps)
    line = taps + (columns.out - 1) * step
    places = _places(axes, line, step)
    starts = np.arange(rows.out)[:, None] * line + np.arange(columns.out) * step
    for tap in range(taps, next(tile for tile in TILES if tile >= taps)):
        y, x = places[:, np.minimum(starts + tap, places.shape[1] - 1)]
        yield image[:, y, x]


def _places(axes: tuple[Axis, Axis], line: int, step: int) -> Array:
    """Where each pointer of the list points: row and column of the padded image. Shape: (2, pointers)."""
    rows, columns = axes
    places = np.zeros((2, rows.out * line), np.intp)
    out_y, out_x, i, j = np.ogrid[: rows.out, : columns.out, : rows.taps, : columns.taps]
    index = out_y * line + out_x * step + j * rows.taps + i
    y, x = out_y * rows.stride + i * rows.dilation, out_x * columns.stride + j * columns.dilation
    places[:, index] = np.stack(np.broadcast_arrays(y, x))
    return places


SAME, VALID, RELU6 = 1, 2, 3
"""Paddings; the last activation that it takes, and ignores."""
SIZE = 24
"""Bytes of the structs that are looked at: padding, strides, and of a pool filter sizes and activation."""


def transpose_conv_with_bias(node: Node) -> bool:
    """``VisitMediaPipeDeconvolutionNode``: floats, stored weights and bias."""
    padding, across, down, *_ = fields(node)
    if len(node.inputs) != 3 or not is_image(node.x, node.at(1), node.y) or min(across, down) <= 0:  # noqa: PLR2004
        return False
    stored = static(node, 1) and static(node, 2) and node.at(2).dtype == "float32" and len(node.at(2).shape) == 1
    sizes = zip((down, across), node.at(1).shape[1:3], node.x.shape[1:3], node.y.shape[1:3], strict=True)
    fits = all(padded_transposed(padding == SAME, *each) for each in sizes)
    return stored and padding in (SAME, VALID) and fits


def max_pool_with_places(node: Node) -> bool:
    """``VisitMediaPipeMaxPoolingNode``: the largest of windows side by side, and where it was."""
    if len(node.inputs) != 1 or len(node.outputs) != 2 or not is_image(node.x, node.outputs[0]):  # noqa: PLR2004
        return False
    return images(node.outputs[1]) and side_by_side(node)


def max_unpool(node: Node) -> bool:
    """``VisitMediaPipeUnpoolingNode``: values back to where they were, without padding."""
    placed = len(node.inputs) == 2 and is_image(node.x, node.y) and images(node.at(1))  # noqa: PLR2004
    return placed and fields(node)[0] == VALID and side_by_side(node)


def side_by_side(node: Node) -> bool:
    """``CheckMediaPipePoolParams``: windows as large as the strides."""
    padding, across, down, width, height, activation = fields(node)
    return padding in (SAME, VALID) and 0 < across == width and 0 < down == height and 0 <= activation <= RELU6


def fields(node: Node) -> list[int]:
    """The first integers of the options."""
    given = node.operator.custom_options
    stored = b"" if given is None else given.tobytes()
    return list(unpack("<6i", stored[:SIZE].ljust(SIZE, b"\0")))


def is_image(*tensors: Tensor) -> bool:
    """Float32 with four dimensions."""
    return images(*tensors) and all(tensor.dtype == "float32" for tensor in tensors)
