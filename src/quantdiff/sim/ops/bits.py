"""BITWISE_XOR, RIGHT_SHIFT: LiteRT ``tflite/kernels/{bitwise_xor,right_shift}.cc``; integers as they stand, no grid."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("BITWISE_XOR")
def exclusive_or(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the bits that one of both has. Shapes broadcast."""
    del node, runtime
    return np.asarray(np.bitwise_xor(a, b))


@kernel("RIGHT_SHIFT")
def right_shift(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Shift ``a`` by ``b`` bits, by 0 at least and by all bits but one at most; the sign stays. Shapes broadcast."""
    del node, runtime
    shifted: Array = np.right_shift(a, np.clip(b, 0, 8 * a.dtype.itemsize - 1).astype(a.dtype))
    return shifted
