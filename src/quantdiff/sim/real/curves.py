"""Functions of one value or two, and softmax: runtimes have tables or fixed-point approximations for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quantdiff.quant import Array
from quantdiff.quant import quantize as stored
from quantdiff.sim.node import Node, quant_of
from quantdiff.sim.real.registry import dequantized, real

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
