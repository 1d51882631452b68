"""When to load the compiled loops: numba takes a second, which small models should not pay."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from types import ModuleType

WORTH = 2**19
"""Outputs of one call from which on NumPy alone loses more than numba takes to load."""
MODULE = "quantdiff.sim.loops"


def loops(elements: float) -> ModuleType | None:
    """The compiled loops if ``elements`` outputs repay them or they are there anyway; None says NumPy."""
    return _load() if elements >= WORTH or MODULE in sys.modules else None


@cache
def _load() -> ModuleType | None:
    """The module, or None where numba cannot be had: the NumPy text gives the same integers."""
    try:
        return import_module(MODULE)
    except ImportError:
        return None
