"""Compiled loops on disk, by the content of every file that they are made of; numba itself looks at one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])
SOURCES = tuple(
    Path(__file__).with_name(f"{name}.py")
    for name in ("loops", "real_loops", "tiles", "finish", "narrow", "permuted", "vectors", "accumulate", "pairs")
)


@cache
def stamp() -> bytes:
    """What changes with any of the files."""
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in SOURCES)).digest()


_Impl: Any = CompileResultCacheImpl


def _by_sources(function: Any) -> Any:
    how = _Impl(function)
    how.locator.get_source_stamp = stamp
    return how


_KeptCode: Any = type("KeptCode", (FunctionCache,), {"_impl_class": staticmethod(_by_sources)})


def keep(dispatcher: Any) -> None:
    """Have what is compiled for this function stored, and looked for.

    Raises:
        RuntimeError: there is no folder that it could be written to.
    """
    dispatcher._cache = _KeptCode(dispatcher.py_func)


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    made = njit(nogil=True)(function)
    with suppress(RuntimeError):  # no folder that a cache could be written to
        keep(made)
    return cast(Function, made)


def inlined(function: Function) -> Function:
    """A part of others, which is compiled with them alone: LLVM takes long for what is written out."""
    return cast(Function, njit(inline="always")(function))
