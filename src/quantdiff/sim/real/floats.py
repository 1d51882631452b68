"""Functions of floats that runtimes compute as they stand: values of one or two arguments, choices and sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node
from quantdiff.sim.ops.pool_2d import filter_of
from quantdiff.sim.real.registry import real
from quantdiff.sim.window import axes_of, pad_image, windows

UNARY: dict[str, Callable[[Array], Array]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "COS": np.cos,
    "FLOOR": np.floor,
    "LOGICAL_NOT": np.logical_not,
    "NEG": np.negative,
    "ROUND": np.rint,
    "SIGN": np.sign,
    "SIN": np.sin,
    "SQUARE": np.square,
    "ZEROS_LIKE": np.zeros_like,
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "ATAN2": np.arctan2,
    "BITWISE_XOR": lambda a, b: np.bitwise_xor(a.astype(np.int64), b.astype(np.int64)),
    "EQUAL": np.equal,
    "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "NOT_EQUAL": np.not_equal,
    "POW": np.power,
    "RIGHT_SHIFT": lambda a, b: np.right_shift(a.astype(np.int64), b.astype(np.int64).clip(0, 63)),
}
REDUCTIONS: dict[str, Callable[..., Array]] = {
    "REDUCE_ALL": np.all,
    "REDUCE_ANY": np.any,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
    "REDUCE_PROD": np.prod,
}


@real(*(f"{op} float32" for op in UNARY), anywhere=True)
def unary(node: Node, x: Array) -> Array:
    """The function that the op is named for. Shape as ``x``."""
    return UNARY[node.operator.op](x)


@real(*(f"{op} float32" for op in BINARY), anywhere=True)
def binary(node: Node, a: Array, b: Array) -> Array:
    """The function of two values that the op is named for. Shapes broadcast."""
    return BINARY[node.operator.op](a, b)


@real("ADD_N float32", anywhere=True)
def add_n(node: Node, *parts: Array) -> Array:
    """The sum of all. Shape as each of them."""
    del node
    return np.asarray(sum(parts[1:], parts[0]))


@real("CAST float32", anywhere=True)
def cast(node: Node, x: Array) -> Array:
    """The same numbers; whole ones where the output's type has no others."""
    if node.y.dtype == "bool":
        return np.asarray(x != 0)
    return x.astype(np.float64) if node.y.dtype.startswith("float") else np.trunc(x).astype(np.int64)


@real(*(f"{op} float32" for op in REDUCTIONS))
def reduce(node: Node, x: Array, axes: Array) -> Array:
    """The op's reduction over ``axes``."""
    over = tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
    return np.asarray(REDUCTIONS[node.operator.op](x, axis=over, keepdims=bool(node.option("keep_dims", False))))


@real("MAX_POOL_2D float32")
def max_pool_2d(node: Node, x: Array) -> Array:
    """The largest value of each window. Shapes: (n, h, w, c) -> (n, out_h, out_w, c)."""
    axes = axes_of(node, x.shape, filter_of(node))
    return np.asarray(windows(pad_image(x, axes, -np.inf), axes).max(axis=(3, 4)))


@real("LOG_SOFTMAX float32", anywhere=True)
def log_softmax(node: Node, x: Array) -> Array:
    """``x - max - log(sum(exp(x - max)))`` along the last axis."""
    del node
    below = x - x.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


@real("L2_NORMALIZATION float32", anywhere=True)
def l2_normalization(node: Node, x: Array) -> Array:
    """``x`` over its length along the last axis."""
    del node
    return np.asarray(x / np.sqrt(np.maximum(np.square(x).sum(axis=-1, keepdims=True), 1e-12)))


@real("CUMSUM float32")
def cumsum(node: Node, x: Array, axis: Array) -> Array:
    """The sums up to each value along ``axis``, itself left out with ``exclusive``."""
    along = int(np.asarray(axis).reshape(-1)[0])
    turned = np.flip(x, along) if node.option("reverse", False) else x
    sums = np.cumsum(turned, axis=along) - (turned if node.option("exclusive", False) else 0)
    return np.asarray(np.flip(sums, along) if node.option("reverse", False) else sums)


@real("WHERE float32")
def where(node: Node, condition: Array) -> Array:
    """The places at which a condition holds. Shape: (places, axes)."""
    del node
    return np.argwhere(condition)


@real("SPARSE_TO_DENSE float32")
def sparse_to_dense(node: Node, places: Array, shape: Array, values: Array, default: Array) -> Array:
    """Values at their places, the default elsewhere. Shapes: places (n, axes), values (n,) or one -> ``shape``."""
    del node
    y = np.full([int(size) for size in shape.reshape(-1)], default.reshape(-1)[0])
    if places.size:
        y[tuple(places.reshape(-1, y.ndim).T)] = values
    return y
