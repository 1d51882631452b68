"""Integer arithmetic told without its kernels: the exact sum behind each output, its bounds, and what multiplies it.

The kernels of ``sim/ops`` work on whole arrays; who writes an output on paper, hands it to hardware or measures a
device starts here. FULLY_CONNECTED, CONV_2D and DEPTHWISE_CONV_2D have a ``Channel`` for each output channel. The sums
of any op may be multiplied by three scales. ``double``: all in float64, from the stored float32 scales. ``float32``:
all in float32. ``float32-product``: the product of the input scales in float32, divided in float64. Which of them a
runtime takes: ``sim/rounding/scaling.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import add_bias, axes_of, centred, matmul, pad_image, windows
from quantdiff.sim.node import Node, NoKernel, check_8_bit, clamp_of, is_quantized, quant_of, scale_of, zero_point_of
from quantdiff.sim.ops import conv_2d, depthwise_conv_2d, fully_connected, relu, resampling, transpose_conv
from quantdiff.sim.rounding.fixed_point import Rounding, convolution_scale, quantize_multiplier
from quantdiff.sim.runtime import Runtime

ACCUMULATE = {
    "FULLY_CONNECTED": fully_connected.accumulate,
    "CONV_2D": conv_2d.accumulate,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d.accumulate,
}


@dataclass(frozen=True, slots=True)
class Channel:
    """One output channel: ``scale == mantissa * 2**(shift - 31)`` but for the last bit, and the rule that uses them.

    Rules G, R and S take the integers, X and D the ``scale``, which is a float32 for X.
    """

    rounding: Rounding
    scale: float
    mantissa: int
    shift: int


def accumulators(node: Node, x: Array, w: Array, bias: Array | None) -> Array:
    """Sums of products plus bias as int64, which no runtime changes. Shape: that of the output."""
    return add_bias(ACCUMULATE[node.operator.op](node, x, w), bias).astype(np.int64)


def channels_of(node: Node, runtime: Runtime) -> tuple[Channel, ...]:
    """One entry per output channel; ``runtime`` is the one whose kernel runs.

    Raises:
        NoKernel: another op, or other types than 8 bits.
    """
    if node.operator.op not in ACCUMULATE:
        raise NoKernel("no sums of products")
    check_8_bit(node)
    if node.operator.op == "FULLY_CONNECTED":
        rounding = fully_connected.ROUNDING[runtime]
        return _channels([rounding] * node.at(1).shape[-2], fully_connected.effective_scale(node, runtime))
    return _channels(_of_convolution(node, runtime), convolution_scale(node, runtime))


def _of_convolution(node: Node, runtime: Runtime) -> list[Rounding]:
    w = node.at(1).shape
    if node.operator.op == "CONV_2D":
        return [conv_2d.rounding_of(runtime, groups=node.x.shape[3] // w[3])] * w[0]
    rounding = depthwise_conv_2d.rounding_of(runtime, fast=node.x.dtype != "uint8")
    if rounding is not Rounding.RUY:
        return [rounding] * w[3]
    body = w[3] // depthwise_conv_2d.VECTOR * depthwise_conv_2d.VECTOR
    return [Rounding.RUY] * body + [Rounding.GEMMLOWP] * (w[3] - body)


def _channels(roundings: Sequence[Rounding], scale: Array) -> tuple[Channel, ...]:
    scales = np.broadcast_to(scale, len(roundings))
    mantissas, shifts = quantize_multiplier(scales)
    rows = zip(roundings, scales.tolist(), mantissas.tolist(), shifts.tolist(), strict=True)
    return tuple(Channel(*row) for row in rows)


NARROW, INTEGERS = ("int8", "uint8"), ("int8", "uint8", "int16")
PRODUCTS = {**dict.fromkeys((*ACCUMULATE, "BATCH_MATMUL", "MUL"), (0, 1)), "TRANSPOSE_CONV": (2, 1)}
"""Where the factors of a sum of products stand."""
REDUCED = ("MEAN", "SUM")
POOL = "AVERAGE_POOL_2D"


def exact_sums(node: Node, *inputs: Array | None) -> Array:
    """The sums as int64. Shapes: inputs as the op's kernel takes them, the result as the output.

    Raises:
        NoKernel: the op scales no sum, or not of these types.
    """
    if not has_sums(node):
        raise NoKernel("no sum that is scaled")
    return np.asarray(SUMS[node.operator.op](node, *inputs)).astype(np.int64)


def has_sums(node: Node) -> bool:
    """True where the output is a sum, scaled."""
    given = [node.at(i) for i in PRODUCTS.get(node.operator.op, (0,))] if node.operator.op in SUMS else []
    return bool(given) and all(is_quantized(t, *INTEGERS, "int4") for t in given) and is_quantized(node.y, *INTEGERS)


def scales_of(node: Node) -> dict[str, Array]:
    """What the sums may be multiplied by, by how it is computed; each broadcasts against the output, float64."""
    if node.operator.op == POOL:
        axes = axes_of(node, node.x.shape, resampling.filter_of(node))
        inverse = 1 / np.multiply.outer(*map(resampling.inside, axes))[..., None]
        return {"double": inverse, "float32": inverse.astype(np.float32).astype(np.float64)}
    over = averaged(node) if node.operator.op == "MEAN" else 1
    given = [np.asarray(scale_of(node.at(i))) for i in PRODUCTS.get(node.operator.op, (0,))]
    y, doubles, product = np.float32(scale_of(node.y)), np.ones((), np.float64), np.ones((), np.float32)
    for scale in given:
        doubles, product = doubles * scale.astype(np.float64), product * scale
    return {
        "double": np.asarray(doubles / (np.float64(y) * over)),
        "float32-product": np.asarray(product.astype(np.float64) / (np.float64(y) * over)),
        "float32": np.asarray(product / (y * np.float32(over))).astype(np.float64),
    }


def zero_point_behind(node: Node) -> int:
    """What is added to the scaled sum: none where a pool divides what is stored, zero point and all."""
    return 0 if node.operator.op == POOL else zero_point_of(node.y)


def clamp_behind(node: Node) -> tuple[int, int]:
    """Bounds of the output, by the fused activation or the op's own."""
    if node.operator.op in relu.BOUNDS:
        return relu.bounds(node, quant_of(node.y))
    return clamp_of(node, Runtime.REFERENCE)


def reach_of_sums(node: Node) -> tuple[Array, Array]:
    """Bounds of the sums, whatever is fed: each () or per channel, int64.

    Raises:
        NoKernel: they depend on more than the file says.
    """
    op = node.operator.op
    if op == POOL:
        taps = math.prod(resampling.filter_of(node))
        low, high = (taps * bound for bound in INTEGER_RANGE[node.x.dtype])
        return np.asarray(min(low, 0)), np.asarray(max(high, 0))
    position = PRODUCTS.get(op, (0,))[0]
    low, high = _around(node, position)
    if op in REDUCED:
        return np.asarray(low * averaged(node)), np.asarray(high * averaged(node))
    if op not in PRODUCTS:
        return np.asarray(low), np.asarray(high)
    if op == "MUL":
        ends = [a * b for a in (low, high) for b in _around(node, 1)]
        return np.asarray(min(ends)), np.asarray(max(ends))
    if op == "BATCH_MATMUL":
        depth = node.x.shape[-2 if node.option("adj_x", False) else -1]
        ends = [depth * a * b for a in (low, high) for b in _around(node, 1)]
        return np.asarray(min(ends)), np.asarray(max(ends))
    weights = node.at(1).data
    if weights is None or node.at(1).dtype not in INTEGERS:
        raise NoKernel("weights that the file does not hold")
    return _reach_of_products(node, centred(weights, zero_point_of(node.at(1))).astype(np.int64), low, high)


def _reach_of_products(node: Node, w: Array, low: int, high: int) -> tuple[Array, Array]:
    """Every weight at its worst, and the bias; padding adds 0, which lies between."""
    channels = 3 if node.operator.op == "DEPTHWISE_CONV_2D" else 0
    each = np.moveaxis(w, channels, 0).reshape(w.shape[channels], -1)
    first, last = (side(each * low, each * high).sum(axis=1) for side in (np.minimum, np.maximum))
    position = 3 if node.operator.op == "TRANSPOSE_CONV" else 2
    tensor = node.inputs[position] if position < len(node.inputs) else None
    if tensor is not None and tensor.data is None:
        raise NoKernel("a bias that the file does not hold")
    bias = 0 if tensor is None or tensor.data is None else tensor.data.reshape(-1).astype(np.int64)
    return np.minimum(first, 0) + bias, np.maximum(last, 0) + bias


def _around(node: Node, position: int) -> tuple[int, int]:
    tensor = node.at(position)
    first, last = INTEGER_RANGE[tensor.dtype]
    return first - zero_point_of(tensor), last - zero_point_of(tensor)


def averaged(node: Node) -> int:
    """How many values a mean or a sum over axes takes together.

    Raises:
        NoKernel: the axes are fed.
    """
    axes = node.at(1).data
    if axes is None:
        raise NoKernel("axes that the file does not hold")
    return math.prod(node.x.shape[axis] for axis in {int(a) % len(node.x.shape) for a in np.asarray(axes).reshape(-1)})


def _products(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    return _biased(ACCUMULATE[node.operator.op](node, x, w), bias, node)


def _biased(acc: Array, bias: Array | None, node: Node) -> Array:
    total = acc.astype(np.int64) + (0 if bias is None else bias.reshape(-1).astype(np.int64))
    return total.astype(np.int32) if node.y.dtype in NARROW else total


def _transposed(node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None) -> Array:
    return _biased(transpose_conv.accumulate(node, [int(size) for size in shape], w, x), bias, node)


def _matmul(node: Node, a: Array, b: Array) -> Array:
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    return matmul(centred(left, zero_point_of(node.x)), centred(right, zero_point_of(node.at(1))))


def _mul(node: Node, a: Array, b: Array) -> Array:
    return centred(a, zero_point_of(node.x)).astype(np.int64) * centred(b, zero_point_of(node.at(1)))


def _alone(node: Node, x: Array) -> Array:
    return centred(x, zero_point_of(node.x))


def _over_axes(node: Node, x: Array, axes: Array) -> Array:
    over = tuple({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)})
    total = x.sum(axis=over, keepdims=bool(node.option("keep_dims", False)), dtype=np.int64)
    return np.asarray(total - zero_point_of(node.x) * math.prod(x.shape[axis] for axis in over))


def _pooled(node: Node, x: Array) -> Array:
    axes = axes_of(node, x.shape, resampling.filter_of(node))
    return np.asarray(windows(pad_image(x.astype(np.int64), axes, 0), axes).sum(axis=(3, 4)))


SUMS: Mapping[str, Callable[..., Array]] = {
    **dict.fromkeys(ACCUMULATE, _products),
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _matmul,
    "MUL": _mul,
    **dict.fromkeys(("QUANTIZE", *relu.BOUNDS), _alone),
    **dict.fromkeys(REDUCED, _over_axes),
    POOL: _pooled,
}
