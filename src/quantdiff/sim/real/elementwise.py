"""Functions of pairs, and what only moves to another grid."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.quant import quantize as stored
from quantdiff.sim.node import Node, quant_of
from quantdiff.sim.real.registry import dequantized, real


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
