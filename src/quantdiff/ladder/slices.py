"""A slice of the data in parts, and work on it side by side: NumPy lets go of the interpreter in its long loops."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from quantdiff.graph import Model, keeps_resources
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading, read_at_once, readable_tensors

ELEMENTS_AT_ONCE = 2**21
"""Of the runtime's tensors, which the first rungs hold as doubles."""
AT_MOST = 2**24
"""The same where a part would be a single run of a large network: two share what Python does between products."""
THREADS = min(4, os.cpu_count() or 1)
"""Each holds the activations of a slice."""
Given = TypeVar("Given")
Made = TypeVar("Made")


@cache
def _blas() -> ThreadpoolController:
    """The libraries that multiply."""
    return ThreadpoolController()


@contextmanager
def one_thread_a_product() -> Iterator[None]:
    """Products on the thread that asks for them.

    On threads of their own they wait for each other in a loop: beside other work a product of this size takes fifty
    times as long.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


ARENAS, TRIMMED, MAPPED = -8, -1, -3
"""glibc's ``M_ARENA_MAX``, ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``."""
KEPT, LARGEST = 2**27, 2**25
"""Bytes that are free at the end of a heap and stay; and of what is taken from one, as glibc has it at most."""


@cache
def _share_memory() -> None:
    """Else glibc gives each thread a heap of its own, which keeps what it once held: they grow with the data.

    What it maps anew for every large array, the system fills with zeros first, a page at a time.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for what, value in ((ARENAS, 2), (MAPPED, LARGEST), (TRIMMED, KEPT)):
            library.mallopt(what, value)


def side_by_side(work: Callable[[Given], Made], items: Iterable[Given]) -> list[Made]:
    """What ``work`` makes of each item, in their order."""
    if len(several := list(items)) < 2:  # noqa: PLR2004 (nothing beside it)
        return list(map(work, several))
    _share_memory()
    with one_thread_a_product(), ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, several))


def in_parts(reading: Reading, *, whole: bool = False) -> Iterator[Reading]:
    """A slice as parts of which every rung of real arithmetic finds room in memory at once; ``whole`` as it is."""
    runs = len(reading.inputs[0])
    each = sum(v.size for v in reading.values.values()) // max(1, runs)
    size = max(1, ELEMENTS_AT_ONCE // max(1, each), min(2, AT_MOST // max(1, each)))
    if size >= runs or whole:
        yield reading
        return
    samples = len(reading.rows) // runs
    for at in range(0, runs, size):
        place = slice(at, at + size)
        rows = slice(at * samples, (at + size) * samples)
        yield replace(
            reading,
            start=reading.start + rows.start,
            rows=reading.rows.part(rows),
            inputs=tuple(x[place] for x in reading.inputs),
            values={i: rows_of(v, runs, place) for i, v in reading.values.items()},
            outputs=tuple(rows_of(y, runs, place) for y in reading.outputs),
            changed=0 if at else reading.changed,
        )


def rows_of(values: Array, runs: int, rows: slice) -> Array:
    """Some of a tensor's runs, however its file states its shape."""
    return values[rows] if len(values) == runs else values.reshape(runs, -1)[rows]


def by_run(values: Array, runs: int) -> Array:
    """A reference's output with the file's runs along axis 0: what is left over is dropped."""
    each = max(1, len(values) // runs)
    return values[: runs * each].reshape(runs, -1)


PART, LARGEST_PART = 256, 4096
"""Samples of a part at least, since the runtime reads the file again for each; and at most."""


def samples_in_part(model: Model) -> int:
    """The samples that are explained together, by the file alone: whole slices, and whole invocations."""
    size = read_at_once(model, readable_tensors(model.main, None))
    if keeps_resources(model.main):  # a part is a stream of its own
        return min(size, LARGEST_PART)
    rows = max((model.main.tensors[i].shape[0] for i in model.main.inputs if model.main.tensors[i].shape), default=1)
    size = min(size * max(1, -(-PART // size)), LARGEST_PART)
    return max(1, size // max(1, rows)) * max(1, rows)
