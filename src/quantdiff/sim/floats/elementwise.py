"""Float arithmetic that rounds once per element, and how ``builtin`` walks through operands that broadcast.

Every runtime gives the same bits in the former. The walk decides what falls into vectors: LiteRT
``tflite/kernels/internal/optimized/optimized_ops.h`` (``ProcessBroadcastShapes``, ``BinaryBroadcastFiveFold``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.node import ACTIVATION_RANGE, Node, NoKernel
from quantdiff.sim.runtime import Runtime

BY_NEON = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""What ``builtin`` clamps in vectors on ARM64."""
IN_SECTIONS, VECTOR = ((Runtime.BUILTIN_ARM64, "ADD"), (Runtime.BUILTIN_ARM64, "MUL")), 4
"""What it clamps in vectors of so many, but for what fills none at the end of an inner loop."""
ORDER = "float sums depend on the order in which a runtime adds"
"""Why float matrix products have no exact simulation."""


def clamped(node: Node, y: Array, runtime: Runtime) -> Array:
    """``y`` between the real bounds of the fused activation; all but XNNPACK stop at finite numbers. Shape as ``y``."""
    if y.dtype.kind != "f":
        return y
    if node.activation not in ACTIVATION_RANGE:
        raise NoKernel(f"fused activation {node.activation}")
    end = np.inf if runtime.family is Runtime.XNNPACK else np.finfo(np.float32).max
    low, high = (np.float32(np.clip(bound, -end, end)) for bound in ACTIVATION_RANGE[node.activation])
    y = np.clip(y, low, high)
    if low != 0 or not runtime.on_arm64:
        return y
    if runtime is Runtime.XNNPACK_ARM64 or (runtime is Runtime.BUILTIN_ARM64 and node.operator.op in BY_NEON):
        return without_minus(y)
    section = section_of(node.x.shape, node.at(1).shape) if (runtime, node.operator.op) in IN_SECTIONS else None
    if section is None:
        return y
    place = np.arange(y.size).reshape(y.shape) % section.length
    return np.where(place < section.length // VECTOR * VECTOR, without_minus(y), y)


def without_minus(y: Array) -> Array:
    """Zeros above 0: of both, NEON's maximum takes that one, wherever it stands. Shape as ``y``."""
    return np.where(y == 0, np.float32(0), y)


def computed(runtime: Runtime, function: Callable[..., Array], *x: Array) -> Array:
    """A function that is rounded once; in XNNPACK nothing below the smallest normal float goes in or comes out."""
    if runtime.family is not Runtime.XNNPACK or x[0].dtype != np.float32:
        return function(*x)
    return flushed(function(*map(flushed, x)))


def plain(node: Node) -> bool:
    """True when no tensor of the node is quantized: floats, or integers that count something."""
    tensors = [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None]
    return all(t.dtype in ("float32", "int32", "int64") and not (t.quant and t.quant.scale) for t in tensors)


def fused_multiply_add(a: Array, b: Array, c: Array) -> Array:
    """``a * b + c`` of float32 rounded once: in float64 rounded to odd, then to float32. The shapes broadcast."""
    product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + addend
    virtual = total - product
    lost = (product - (total - virtual)) + (addend - virtual)
    even = (total.view(np.int64) & 1) == 0
    odd = np.where((lost != 0) & even, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)
    return odd.astype(np.float32)


def multiply_add(a: Array, b: ArrayLike, c: ArrayLike, runtime: Runtime) -> Array:
    """``a * b + c`` of float32 as compilers have it: rounded once on ARM64, twice on x86-64. The shapes broadcast."""
    b, c = np.asarray(b, np.float32), np.asarray(c, np.float32)
    return fused_multiply_add(a, b, c) if runtime.on_arm64 else a * b + c


def flushed(x: Array) -> Array:
    """``x`` with zeros for what is below the smallest normal float, as XNNPACK's threads have it. Shape as ``x``."""
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


def added_in_order(x: Array, over: tuple[int, ...], *, from_zero: bool = True) -> Array:
    """Sums over axes, which count from the front, one value after another. Shape: the other axes.

    ``from_zero`` False begins with the first value, so that zeros below 0 stay below 0.
    """
    rows = np.moveaxis(x, over, range(len(over)))
    flat = rows.reshape(-1, *rows.shape[len(over) :])
    begun = np.concatenate([np.zeros_like(flat[:1]), flat]) if from_zero else flat
    total: Array = np.add.accumulate(begun, axis=0, dtype=np.float32)[-1]
    return total


Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Elements of the output that one inner loop computes, and whether one operand is a single value there."""

    length: int
    is_scalar: bool


def section_of(a: Shape, b: Shape) -> Section | None:
    """The inner loop for two shapes, or None where there are more than five loops: then there are no vectors."""
    rank = max(len(a), len(b))
    pairs = [*zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)]
    unequal = [pair for pair in pairs if pair[0] != pair[1]]
    if not unequal:
        return Section(prod(a), False)
    if unequal[-1][0] != 1:  # the one that repeats first comes first
        pairs = [(right, left) for left, right in pairs]

    def taken(fits: Callable[[int, int], bool]) -> int:
        size = 1
        while pairs and fits(*pairs[-1]):
            size *= max(pairs.pop())
        return size

    equal = taken(lambda left, right: left == right)
    repeated = taken(lambda left, _: left == 1)
    taken(lambda left, right: left == right)
    taken(lambda _, right: right == 1)
    taken(lambda left, right: left == right)
    if pairs:
        return None
    return Section(equal, False) if equal > 1 else Section(repeated, True)
