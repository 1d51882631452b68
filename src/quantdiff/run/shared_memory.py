"""What a child process is given: its environment, and arrays as files in memory."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.quant import Array

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: large arrays come and go with every sample, and memory fresh from the system has to be cleared."""
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""For glibc: ask for memory in pages of 2 MB, where the system has them; tensors lie in many of the small ones."""


def surroundings() -> dict[str, str]:
    """The environment of a child."""
    tuned = [os.environ[TUNABLES]] if os.environ.get(TUNABLES) else []
    return {**os.environ, **KEEP_MEMORY, TUNABLES: ":".join([*tuned, LARGE_PAGES])}


class SentFiles:
    """Arrays in a folder that both sides map into memory, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shared = folder, dict[str, np.memmap[Any, Any]]()

    def file(self, name: str, array: Array) -> tuple[str, tuple[int, ...], str]:
        """Put an array where the child sees it, in the same memory as the last of this name where the shape allows it.

        One that another child made is there already. Gives path, shape and dtype.
        """
        there = _file_of(array)
        if there is not None:
            return there, array.shape, array.dtype.str
        shared = self._shared.get(name)
        if shared is None or (shared.shape, shared.dtype) != (array.shape, array.dtype):
            path = self._folder / f"{name}.npy"
            shared = np.lib.format.open_memmap(path, mode="w+", dtype=array.dtype, shape=array.shape)
            self._shared[name] = shared
        shared[...] = array
        return str(shared.filename), array.shape, array.dtype.str

    def clear(self) -> None:
        """Let go of all of them."""
        self._shared.clear()


def _file_of(array: Array) -> str | None:
    """The ``.npy`` file in memory that holds just this array; None for a part of one, or any other array."""
    base: Any = array.base
    if not isinstance(array, np.memmap) or not isinstance(base, mmap.mmap) or not array.flags.c_contiguous:
        return None
    path = str(array.filename)
    return path if path.endswith(".npy") else None
