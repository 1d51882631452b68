"""What is made of a constant, kept as long as the constant: samples come in parts, and runtimes one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

from quantdiff.quant import Array

Made = TypeVar("Made")
AT_MOST = 2**22
"""Bytes of a constant from which on it is made anew rather than kept."""


def kept(make: Callable[..., Made]) -> Callable[..., Made]:
    """The function; its first argument is an array, of which results are kept where nobody may write to it."""
    known: dict[tuple[Any, ...], tuple[ref[Array], Made]] = {}

    @wraps(make)
    def found(array: Array, *arguments: Any) -> Made:
        if array.flags.writeable or array.nbytes > AT_MOST:
            return make(array, *arguments)
        key = id(array), *arguments
        if key not in known:  # an id comes again, but not before its array has gone, and its entry with it
            known[key] = ref(array, lambda _: known.pop(key, None)), make(array, *arguments)
        return known[key][1]

    return found
