"""The C library's own functions: NumPy's float32 ``exp`` differs from ``expf`` in a third of a table."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import numpy as np

from quantdiff.quant import Array

Vector = Callable[[Array], Array]


@cache
def float_function(name: str, arguments: int = 1) -> Callable[..., float]:
    """``expf``, ``tanhf``, … of the C library that the interpreter uses, else float64 rounded once."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        double: Callable[..., float] = getattr(math, name.removesuffix("f"))
        return double
    function.argtypes, function.restype = (ctypes.c_float,) * arguments, ctypes.c_float
    found: Callable[..., float] = function
    return found


def apply(name: str, x: Array) -> Array:
    """The named float32 function on every element. Shape as ``x``."""
    function = float_function(name)
    flat = [function(value) for value in x.astype(np.float32).reshape(-1).tolist()]
    return np.asarray(flat, np.float32).reshape(x.shape)


def apply_pair(name: str, x: Array, y: Array) -> Array:
    """The named float32 function of two values on every pair. Shapes agree."""
    function = float_function(name, 2)
    pairs = zip(x.astype(np.float32).reshape(-1).tolist(), y.astype(np.float32).reshape(-1).tolist(), strict=True)
    return np.asarray([function(a, b) for a, b in pairs], np.float32).reshape(x.shape)
