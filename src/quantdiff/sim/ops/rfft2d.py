"""RFFT2D, REAL, IMAG, COMPLEX_ABS: LiteRT ``tflite/kernels/{rfft2d,complex_support}.cc``; tflm has none of them."""

from __future__ import annotations

import math

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.enclosures import Enclosure, around, enclosure
from quantdiff.sim.floats import libm
from quantdiff.sim.node import Node, NoKernel, kernel, sized
from quantdiff.sim.runtime import Runtime

BUTTERFLY = 16 * 2.0**-53
"""More than the relative error of a step of the transform in float64, twiddle factors included."""
STEPS_BESIDE = 4
"""Steps beside those of the transform, which make one of real values of one of half the length."""


@enclosure("RFFT2D")
def transformed(node: Node, x: Array, length: Array, *, runtime: Runtime) -> Enclosure:
    """The transform of the last two axes, real and imaginary parts side by side; fft2d's order of sums is not followed.

    Higham, Accuracy and Stability of Numerical Algorithms, theorem 24.2, for both transforms, theirs and NumPy's.
    Shapes: x (…, h, w), length (2,) -> (…, height, 2 * (width // 2 + 1)).
    """
    if node.x.dtype != "float32" or runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}")
    height, width = sized(length.reshape(-1), x.size)
    y = np.fft.rfft2(x.astype(np.float64), (height, width))
    taken = x[..., :height, :width].astype(np.float64)
    norm = np.sqrt(height * width * np.square(taken).sum(axis=(-2, -1), keepdims=True))
    steps = math.log2(max(1, height * width)) + STEPS_BESIDE
    real = np.stack([y.real, y.imag], axis=-1).reshape(*y.shape[:-1], -1)
    largest = np.abs(real).max(axis=(-2, -1), keepdims=True, initial=0)
    return around(real, np.broadcast_to(2 * BUTTERFLY * steps * norm, real.shape), np.broadcast_to(largest, real.shape))


@kernel("REAL", "IMAG", "COMPLEX_ABS")
def part(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return one part of a complex number, or its magnitude by the C library's ``hypotf``. Shape as ``x``."""
    if x.dtype != np.complex64 or runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}")
    if node.operator.op == "COMPLEX_ABS":
        return libm.apply_pair("hypotf", x.real, x.imag)
    return np.ascontiguousarray(x.real if node.operator.op == "REAL" else x.imag)
