"""Which operators XNNPACK takes; the rest stay with the ``builtin`` kernels.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``Visit…Node``, ``CheckTensor…``), for a
build with QS8 and QU8 on, as the wheel's default. Only the conditions that a file can violate are here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantdiff.sim.delegate_checks import (
    FLOAT,
    activation,
    all_activations,
    all_float,
    bias,
    constant,
    eight_bit,
    in_and_out,
    is_float,
    ratio,
    same_quantization,
    same_type,
    weights,
)
from quantdiff.sim.node import Node, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime

MAX_DIMS = 6
"""``XNN_MAX_TENSOR_DIMS``."""
MAX_PARTS, MAX_SPLITS = 5, 4


def kernel_of(node: Node, runtime: Runtime) -> Runtime:
    """The runtime whose kernel computes this operator when the model runs on ``runtime``."""
    if runtime is Runtime.XNNPACK and not taken(node):
        return Runtime.BUILTIN
    return runtime


def taken(node: Node) -> bool:
    """True when the delegate accepts the operator."""
    rule = RULES.get(node.operator.op)
    return rule is not None and rule(node)


def convolution(node: Node, axis: int) -> bool:
    """``VisitConv2DNode``, ``VisitDepthwiseConv2DNode``: a bias is required."""
    if len(node.inputs) != 3 or not bias(node.inputs[2]):  # noqa: PLR2004 (x, weights, bias)
        return False
    x, w, y = node.x, node.at(1), node.y
    typed = x.dtype == y.dtype and (w.dtype == x.dtype or (w.dtype, x.dtype) == ("int8", "float32"))
    return activation(x) and activation(y) and constant(w) and weights(w, axis) and typed


def fully_connected(node: Node) -> bool:
    """``VisitFullyConnectedNode``: int8 weights with zero point 0; the bias may be left out."""
    x, w, y = node.x, node.at(1), node.y
    b = node.inputs[2] if len(node.inputs) > 2 else None  # noqa: PLR2004 (the third input)
    if not (activation(x) and activation(y) and x.dtype == y.dtype and constant(w) and (b is None or bias(b))):
        return False
    if w.dtype == x.dtype and w.dtype in FLOAT:
        return True
    if w.dtype == "uint8":
        return x.dtype == "uint8" and eight_bit(w)
    narrow = w.dtype in ("int8", "int4", "int2") and x.dtype in ("int8", "float32")
    per_channel = w.quant is not None and w.quant.axis in (None, 0)
    symmetric = w.dtype != "int8" or x.dtype in FLOAT or not any(w.quant.zero_point if w.quant else ())
    return narrow and per_channel and symmetric


def depthwise(node: Node) -> bool:
    """``VisitDepthwiseConv2DNode``: a depth multiplier is written, and divides the channels; one type for all."""
    multiplier = int(node.option("depth_multiplier", 0))
    divides = multiplier > 0 and node.at(1).shape[3] % multiplier == 0
    return node.at(1).dtype == node.x.dtype and divides and convolution(node, 3)


def transpose_conv(node: Node) -> bool:
    """``VisitTransposeConvNode``: inputs are the output shape, weights, x and perhaps a bias."""
    shape, w, x = node.at(0), node.at(1), node.at(2)
    b = node.inputs[3] if len(node.inputs) > 3 else None  # noqa: PLR2004 (the fourth input)
    typed = x.dtype == node.y.dtype and (w.dtype == x.dtype or (w.dtype, x.dtype) == ("int8", "float32"))
    stored = constant(shape) and constant(w) and weights(w, 0) and (b is None or bias(b))
    return stored and typed and activation(x) and all(fits_transposed(node, axis) for axis in (1, 2))


def fits_transposed(node: Node, axis: int) -> bool:
    """One image axis of ``CalculateTransposeConvPaddings``."""
    shape, taps, have = node.at(0).data, node.at(1).shape[axis], node.at(2).shape[axis]
    stride, want = int(node.option(f"stride_{' hw'[axis]}", 1)), 0 if shape is None else int(shape[axis])
    if node.option("padding") == "SAME":
        return -(-want // stride) == have and taps >= stride
    return taps <= want


def max_pool(node: Node) -> bool:
    """``CheckPoolingParams``: no stride beyond the window."""
    inside = all(int(node.option(f"stride_{s}", 1)) <= int(node.option(f"filter_{f}", 1)) for s, f in POOL_SIDES)
    return all_activations(node) and inside


POOL_SIDES = (("h", "height"), ("w", "width"))


def add(node: Node) -> bool:
    """``VisitBinaryNode``: one type, and scales within 2**-10 and 2**8 of the output's."""
    if not same_type(node):
        return False
    return is_float(node.y) or all(2.0**-10 <= ratio(node, i) < 2.0**8 for i in (0, 1))


def mul(node: Node) -> bool:
    """``VisitBinaryNode``: one type, and a product scale within 2**-16 and 2**8."""
    if not same_type(node):
        return False
    return is_float(node.y) or 2.0**-16 <= float(scale_of(node.x) * scale_of(node.at(1)) / scale_of(node.y)) < 2.0**8


def quantize(node: Node) -> bool:
    """From float, or between equal types with a scale ratio within 2**-8 and 2**7."""
    if not all_activations(node) or is_float(node.y):
        return False
    return is_float(node.x) or (node.x.dtype == node.y.dtype and 2.0**-8 <= ratio(node) <= 2.0**7)


def leaky_relu(node: Node) -> bool:
    """Both slopes, as scales, must fit the 8-bit multipliers."""
    alpha = np.float32(node.option("alpha", 0.0))
    if not all_activations(node) or alpha == 0 or not np.isfinite(alpha):
        return False
    if is_float(node.x):
        return True
    positive = scale_of(node.x) / scale_of(node.y)
    negative = positive * alpha
    fits = 2.0**-8 <= positive <= 2.0**7
    return bool(fits and -127.99609375 <= negative <= 2.0**7 and abs(negative) >= 2.0**-8)  # noqa: PLR2004


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
    return wanted not in ([-1], [0])


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


def concatenation(node: Node) -> bool:
    """``VisitConcatenationNode``: two to five inputs; uint8 needs equal quantization."""
    if not (2 <= len(node.inputs) <= MAX_PARTS and all_activations(node)):  # noqa: PLR2004 (two at least)
        return False
    return node.y.dtype != "uint8" or all(t is not None and t.quant == node.y.quant for t in node.inputs)


def split(node: Node) -> bool:
    """``VisitSplitNode``: two to four outputs along a constant axis."""
    held = activation(node.inputs[1]) and all(map(activation, node.outputs))
    return held and constant(node.inputs[0]) and 2 <= len(node.outputs) <= MAX_SPLITS  # noqa: PLR2004


def batch_matmul(node: Node) -> bool:
    """``VisitBatchMatMulNode``: a right side with zero point 0, of the left side's type."""
    a, b = node.x, node.at(1)
    if not (activation(a) and activation(b) and activation(node.y)):
        return False
    if is_float(a):
        return is_float(b) or b.dtype == "int8"
    return a.dtype == b.dtype == "int8" and zero_point_of(b) == 0


def space_to_depth(node: Node) -> bool:
    """``VisitSpaceToDepthNode``: whole blocks."""
    block = int(node.option("block_size", 1))
    return all_activations(node) and block > 1 and all(size % block == 0 for size in node.x.shape[1:3])


def dequantize(node: Node) -> bool:
    """8 bits per tensor to float; a constant float16 or int8 is unpacked by the delegate."""
    if constant(node.inputs[0]) and node.x.dtype in ("float16", "int8"):
        return True
    return eight_bit(node.x) and is_float(node.y)


FLOAT_ONLY = (
    *("ABS", "AVERAGE_POOL_2D", "CEIL", "COS", "DIV", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "MAXIMUM"),
    *("MINIMUM", "NEG", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE"),
    "SQUARED_DIFFERENCE",
)
RULES: dict[str, Callable[[Node], bool]] = dict.fromkeys(FLOAT_ONLY, all_float)
RULES |= {
    "ADD": add,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "CONV_2D": lambda node: convolution(node, 0),
    "DEPTHWISE_CONV_2D": depthwise,
    "DEPTH_TO_SPACE": all_activations,
    "DEQUANTIZE": dequantize,
    "ELU": lambda node: all_activations(node) and node.x.dtype != "uint8",
    "FULLY_CONNECTED": fully_connected,
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": all_activations,
    "MAX_POOL_2D": max_pool,
    "MEAN": in_and_out,
    "MUL": mul,
    "PAD": in_and_out,
    "QUANTIZE": quantize,
    "REDUCE_MAX": in_and_out,
    "REDUCE_MIN": in_and_out,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": in_and_out,
    "SLICE": slice_,
    "SOFTMAX": lambda node: all_float(node) and float(node.option("beta", 1.0)) == 1.0,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "STRIDED_SLICE": strided_slice,
    "SUB": add,
    "SUM": in_and_out,
    "TANH": all_activations,
    "TRANSPOSE": in_and_out,
    "TRANSPOSE_CONV": transpose_conv,
}
