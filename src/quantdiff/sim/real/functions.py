"""The real functions of values and of what lies beside them: curves, choices, pools, means, interpolation.

For curves runtimes have tables or fixed-point approximations; functions of floats they compute as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quantdiff.quant import Array
from quantdiff.quant import quantize as stored
from quantdiff.sim.accumulate import axes_of, pad_image, windows
from quantdiff.sim.node import Node, dequantized, quant_of, real
from quantdiff.sim.ops.resampling import Places, filter_of, inside, interpolate

CLAMPS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


GELU_CUBIC, GELU_SCALE = 0.044715, math.sqrt(2 / math.pi)


erf = np.vectorize(math.erf, otypes=[np.float64])


CURVES: dict[str, Callable[[Array], Array]] = {
    "ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "EXP": np.exp,
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "LOG": np.log,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SQRT": np.sqrt,
    "TANH": np.tanh,
}


@real(*CURVES, curve=True, anywhere=True)
def curve(node: Node, x: Array) -> Array:
    """The function that the op is named for. Shape as ``x``."""
    with np.errstate(all="ignore"):
        return np.asarray(np.nan_to_num(CURVES[node.operator.op](x)))


@real("GELU", curve=True, anywhere=True)
def gelu(node: Node, x: Array) -> Array:
    """``x Φ(x)``, or its approximation by tanh where the op asks for that. Shape as ``x``."""
    if node.option("approximate", False):
        return np.asarray(0.5 * x * (1 + np.tanh(GELU_SCALE * (x + GELU_CUBIC * x**3))))
    values: Array = 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return values


@real(*CLAMPS, anywhere=True)
def relu(node: Node, x: Array) -> Array:
    """``x`` between the op's bounds, on another grid."""
    return x.clip(*CLAMPS[node.operator.op])


@real("LEAKY_RELU", anywhere=True)
def leaky_relu(node: Node, x: Array) -> Array:
    """``x``, times alpha where negative."""
    return np.where(x < 0, x * float(np.float32(node.option("alpha", 0.0))), x)


@real("PRELU", anywhere=True)
def prelu(node: Node, x: Array, alpha: Array) -> Array:
    """``x``, times the channel's alpha where negative."""
    del node
    return np.where(x < 0, x * alpha, x)


@real("SOFTMAX", curve=True, anywhere=True)
def softmax(node: Node, x: Array) -> Array:
    """``exp(beta x) / sum`` along the last axis."""
    terms = np.exp(float(np.float32(node.option("beta", 1.0))) * (x - x.max(axis=-1, keepdims=True)))
    shares: Array = terms / terms.sum(axis=-1, keepdims=True)
    return shares


@real("ADD", anywhere=True)
def add(node: Node, a: Array, b: Array) -> Array:
    """``a + b``. Shapes broadcast."""
    del node
    return a + b


@real("SUB", anywhere=True)
def sub(node: Node, a: Array, b: Array) -> Array:
    """``a - b``. Shapes broadcast."""
    del node
    return a - b


@real("MUL", anywhere=True)
def mul(node: Node, a: Array, b: Array) -> Array:
    """``a b``. Shapes broadcast."""
    del node
    return a * b


@real("DIV", anywhere=True)
def div(node: Node, a: Array, b: Array) -> Array:
    """``a / b``. Shapes broadcast."""
    del node
    with np.errstate(all="ignore"):
        return np.asarray(np.nan_to_num(a / b))


@real("SQUARED_DIFFERENCE", anywhere=True)
def squared_difference(node: Node, a: Array, b: Array) -> Array:
    """``(a - b)²``. Shapes broadcast."""
    del node
    return np.asarray(np.square(a - b))


@real("QUANTIZE")
def quantize(node: Node, x: Array) -> Array:
    """``x`` itself, on another grid; floats by TensorFlow's float32 division, as a reference quantizes its input.

    In double the ties of such a division, frequent for pixels, would go another way than on either side.
    """
    if x.dtype == np.float32:
        return dequantized(node.y, stored(x, quant_of(node.y), node.y.dtype))
    return x


@real("CONCATENATION")
def concatenation(node: Node, *parts: Array) -> Array:
    """The parts behind each other, each from its own grid."""
    return np.asarray(np.concatenate(parts, axis=int(node.option("axis", 0))))


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


@real("MEAN", curve=True)
def mean(node: Node, x: Array, axes: Array) -> Array:
    """The mean over ``axes``."""
    return np.asarray(x.mean(axis=_over(x, axes), keepdims=bool(node.option("keep_dims", False))))


@real("SUM", curve=True)
def sum_(node: Node, x: Array, axes: Array) -> Array:
    """The sum over ``axes``."""
    return np.asarray(x.sum(axis=_over(x, axes), keepdims=bool(node.option("keep_dims", False))))


@real("AVERAGE_POOL_2D", curve=True)
def average_pool_2d(node: Node, x: Array) -> Array:
    """The mean of each window's part inside the image."""
    axes = rows, columns = axes_of(node, x.shape, filter_of(node))
    total = windows(pad_image(x, axes, 0), axes).sum(axis=(3, 4))
    means: Array = total / (inside(rows)[:, None] * inside(columns))[..., None]
    return means


@real("RESIZE_BILINEAR", curve=True)
def resize_bilinear(node: Node, x: Array, size: Array) -> Array:
    """Between the four nearest pixels, at the places that TensorFlow's ``ResizeBilinear`` takes."""
    corners, centres = bool(node.option("align_corners", False)), bool(node.option("half_pixel_centers", False))
    rows, columns = (_places(have, int(want), corners, centres) for have, want in zip(x.shape[1:3], size, strict=True))
    return interpolate(x, rows, columns, 1)


def _places(have: int, want: int, corners: bool, centres: bool) -> Places:
    ends = int(corners and want > 1)
    place = np.arange(want) * ((have - ends) / (want - ends))
    if centres:
        place = np.maximum(place + 0.5 * have / want - 0.5, 0)
    low = np.minimum(np.floor(place), have - 1).astype(np.int64)
    return Places(low, np.minimum(low + 1, have - 1), place - low)


def _over(x: Array, axes: Array) -> tuple[int, ...]:
    return tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
