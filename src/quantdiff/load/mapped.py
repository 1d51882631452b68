"""Large arrays stay in their file: the system reads the pages that are looked at, and may have them back."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from quantdiff.quant import Array

CUT_SHORT = b"error: a file was cut short while it was read; run the command again when nobody writes to it\n"
AT_ONCE = 2**22  # elements, or bytes, looked at together


def guard() -> None:
    """One line, and exit status 2, where the system ends a process by SIGBUS: somebody shortens a file that is mapped.

    Python's own handlers run between two of its instructions; after this signal there is no next one. Who has a handler
    already keeps it.
    """
    if hasattr(signal, "SIGBUS") and not _handlers:
        install = ctypes.CDLL(None).signal
        install.restype, install.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
        _handlers.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(_end))
        before = install(signal.SIGBUS, ctypes.cast(_handlers[0], ctypes.c_void_p))
        if before:
            install(signal.SIGBUS, before)


def _end(number: int) -> None:
    del number
    os.write(2, CUT_SHORT)
    os._exit(2)


_handlers: list[Any] = []  # which the system keeps by their addresses alone


def release(arrays: Iterable[Array]) -> None:
    """Give back the memory of what was read of mapped arrays; it is read again when it is looked at again."""
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
            base.madvise(mmap.MADV_DONTNEED)


def blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """The array in parts along axis 0, each with the index of its first row; what was looked at is given back."""
    rows = max(1, AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]
        release([array])
