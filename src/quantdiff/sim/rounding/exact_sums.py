"""The exact sum behind each output of an operator that scales one, and the scales it may be multiplied by.

``double``: all in float64, from the stored float32 scales. ``float32``: all in float32. ``float32-product``: the product
of the input scales in float32, divided in float64. What runtimes make of them stands in ``sim/rounding/scales.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred, matmul
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, scale_of, zero_point_of
from quantdiff.sim.ops import pool_2d, relu, transpose_conv
from quantdiff.sim.rounding.requantization import ACCUMULATE
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.window import axes_of, pad_image, windows

NARROW, INTEGERS = ("int8", "uint8"), ("int8", "uint8", "int16")


@dataclass(frozen=True, slots=True)
class ExactSums:
    """``clamp(zero_point + acc * scale)`` rounded somehow is the output.

    Shapes: acc int64, that of the output; each scale broadcasts against it.
    """

    acc: Array
    scales: Mapping[str, Array]
    zero_point: int
    clamp: tuple[int, int]


Function = Callable[..., tuple[Array, Mapping[str, Array]]]


def exact_sums(node: Node, *inputs: Array | None) -> ExactSums:
    """The sums of one call of the kernel. Shapes: as the op's kernel takes them.

    Raises:
        NoKernel: the op scales no sum, or not of these types.
    """
    function = SUMS.get(node.operator.op)
    if function is None or not is_quantized(node.y, *INTEGERS):
        raise NoKernel("no sum that is scaled")
    acc, scales = function(node, *inputs)
    op = node.operator.op
    clamp = relu.bounds(node, node.y.quant) if op in relu.BOUNDS and node.y.quant else clamp_of(node, Runtime.REFERENCE)
    own = op == "AVERAGE_POOL_2D"  # which divides what is stored, zero point and all
    return ExactSums(acc.astype(np.int64), scales, 0 if own else zero_point_of(node.y), clamp)


def has_sums(node: Node) -> bool:
    """True where ``exact_sums`` knows the op."""
    return node.operator.op in SUMS and is_quantized(node.y, *INTEGERS)


def _scales(node: Node, *positions: int, over: int = 1) -> dict[str, Array]:
    given, y = [np.asarray(scale_of(node.at(i)), np.float32) for i in positions], np.float32(scale_of(node.y))
    doubles, product = np.float64(1.0), np.float32(1.0)
    for scale in given:
        doubles, product = doubles * scale.astype(np.float64), product * scale
    return {
        "double": np.asarray(doubles / (np.float64(y) * over)),
        "float32-product": np.asarray(product.astype(np.float64) / (np.float64(y) * over)),
        "float32": np.asarray(product / (y * np.float32(over)), np.float64),
    }


def _check(tensor_is_right: bool, what: str) -> None:
    if not tensor_is_right:
        raise NoKernel(f"types {what}")


def _products(node: Node, x: Array, w: Array, bias: Array | None = None) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS) and is_quantized(node.at(1), *INTEGERS, "int4"), "of no integer product")
    acc = ACCUMULATE[node.operator.op](node, x, w).astype(np.int64)
    return _biased(acc, bias, node), _scales(node, 0, 1)


def _biased(acc: Array, bias: Array | None, node: Node) -> Array:
    total = acc if bias is None else acc + bias.reshape(-1).astype(np.int64)
    return total.astype(np.int32).astype(np.int64) if node.y.dtype in NARROW else total


def _transposed(
    node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None
) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.at(2), *INTEGERS), "of no integer product")
    acc = transpose_conv.accumulate(node, [int(size) for size in shape], w, x)
    return _biased(acc, bias, node), _scales(node, 2, 1)


def _matmul(node: Node, a: Array, b: Array) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS) and is_quantized(node.at(1), *INTEGERS), "of no integer product")
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    return matmul(*(centred(m, zero_point_of(t)) for m, t in ((left, node.x), (right, node.at(1))))), _scales(
        node, 0, 1
    )


def _mul(node: Node, a: Array, b: Array) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS) and is_quantized(node.at(1), *INTEGERS), "of no integer product")
    left, right = centred(a, zero_point_of(node.x)), centred(b, zero_point_of(node.at(1)))
    return left.astype(np.int64) * right, _scales(node, 0, 1)


def _same(node: Node, x: Array) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS), "of no integers")
    return centred(x, zero_point_of(node.x)).astype(np.int64), _scales(node, 0)


def _over_axes(node: Node, x: Array, axes: Array) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS), "of no integers")
    over = tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
    count = int(np.prod([x.shape[axis] for axis in over], dtype=np.int64))
    total = x.sum(axis=over, keepdims=bool(node.option("keep_dims", False)), dtype=np.int64)
    divisor = count if node.operator.op == "MEAN" else 1
    return total - zero_point_of(node.x) * count, _scales(node, 0, over=divisor)


def _pooled(node: Node, x: Array) -> tuple[Array, Mapping[str, Array]]:
    _check(is_quantized(node.x, *INTEGERS), "of no integers")
    axes = rows, columns = axes_of(node, x.shape, pool_2d.filter_of(node))
    total = windows(pad_image(x.astype(np.int64), axes, 0), axes).sum(axis=(3, 4))
    inverse = 1 / (pool_2d.inside(rows)[:, None] * pool_2d.inside(columns))[..., None]
    return total, {"double": inverse, "float32": inverse.astype(np.float32).astype(np.float64)}


SUMS: dict[str, Function] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _products),
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _matmul,
    "MUL": _mul,
    **dict.fromkeys(("QUANTIZE", *relu.BOUNDS), _same),
    **dict.fromkeys(("MEAN", "SUM"), _over_axes),
    "AVERAGE_POOL_2D": _pooled,
}
