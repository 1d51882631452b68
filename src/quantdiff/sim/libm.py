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
def float_function(name: str) -> Callable[[float], float]:
    """``expf``, ``tanhf``, … of the C library that the interpreter uses, else float64 rounded once."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        double: Callable[[float], float] = getattr(math, name.removesuffix("f"))
        return double
    function.argtypes, function.restype = (ctypes.c_float,), ctypes.c_float
    found: Callable[[float], float] = function
    return found


def apply(name: str, x: Array) -> Array:
    """The named float32 function on every element. Shape as ``x``."""
    function = float_function(name)
    flat = [function(value) for value in x.astype(np.float32).reshape(-1).tolist()]
    return np.asarray(flat, np.float32).reshape(x.shape)
