"""Large arrays stay in their file: the system reads the pages that are looked at, and may have them back."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator

import numpy as np

from quantdiff.quant import Array

AT_ONCE = 2**22  # elements, or bytes, looked at together


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
