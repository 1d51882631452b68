"""Files that a user names: only a regular one is opened, since a FIFO or a device can keep us waiting for ever.

Python files run where the user names a function of theirs: nothing else that is read here does.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from importlib.util import module_from_spec, spec_from_file_location
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, TypeVar, cast

from quantdiff.errors import QuantdiffError, reason_of

FILE, FOLDER = "a file", "a folder"
KINDS = {
    stat.S_IFLNK: "a link to itself",
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


PART = re.compile(r"(.+\.(?:tflite|litertlm))#(.+)", re.I | re.S)


def split_part(path: Path) -> tuple[Path, str]:
    """``model.tflite#serving_default`` → the file and what is meant in it; a file of that very name is a file."""
    found = PART.fullmatch(str(path))
    return (path, "") if found is None or path.exists() else (Path(found[1]), found[2])


def is_tflite(path: Path) -> bool:
    """Whether its name says that it is a ``.tflite``, or holds some."""
    return split_part(path)[0].suffix.lower() in (".tflite", ".litertlm")


def what_is(path: Path) -> str:
    """What is there, links followed: ``a file``, ``a folder``, ``a FIFO``, ``a socket``, ``a device``.

    Raises:
        OSError: nothing is there, or the system does not tell.
    """
    try:
        return _kind(path.stat())
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error


HOW = reduce(or_, (getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY")))
"""As far as the system knows these."""


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        OSError: the system refuses, or it is a folder, a FIFO, a socket or a device; ``strerror`` says which.
    """
    _check(what_is(path), path)  # before it is opened: that alone may wait, or rewind a tape
    opened = os.open(path, os.O_RDONLY | HOW)
    file = os.fdopen(opened, "rb")
    try:
        _check(_kind(os.fstat(opened)), path)  # it may have become something else meanwhile
    except OSError:
        file.close()
        raise
    return file


def read_file(path: Path, at_most: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: as ``open_file``, or it holds more than ``at_most`` bytes.
    """
    with open_file(path) as file:
        content = file.read(min(at_most, os.fstat(file.fileno()).st_size) + 1)  # all of that is taken at once
    if len(content) > at_most:
        raise OSError(errno.EFBIG, f"holds more than {at_most:,} bytes", str(path))
    return content


def state_of(path: Path) -> tuple[object, ...]:
    """What is another once a file has been written anew, or another one stands under its name; () of no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def destination(path: Path) -> Path:
    """Where a file is to be written so that it stands at ``path``: a link is followed.

    Raises:
        OSError: what is there is no regular file, and is not to be replaced by one.
    """
    try:
        target = Path(os.path.realpath(path))
        _check(_kind(target.lstat()), path)
    except FileNotFoundError:
        return target
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    return target


def _kind(found: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(found.st_mode), "a device")


def _check(kind: str, path: Path) -> None:
    if kind != FILE:
        raise OSError(errno.EINVAL, f"is {kind}, not a file", str(path))


T = TypeVar("T")


def python_function(source: str | Path) -> tuple[Path, str] | None:
    """``FILE.py:function`` as both; None for other names."""
    path, _, name = str(source).rpartition(":")
    return (Path(path), name) if path.endswith(".py") and name.isidentifier() else None


def module_of(path: Path, refuse: type[QuantdiffError]) -> ModuleType:
    """The file as a module that has run; what lies beside it can be imported meanwhile.

    Raises:
        refuse: no such Python file, or it fails.
    """
    try:
        open_file(path).close()
    except OSError as error:
        raise refuse(f"{path}: {error.strerror or reason_of(error)}; give a Python file that is there") from error
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise refuse(f"{path}: not a Python file; its name ends in .py")
    module = module_from_spec(spec)
    with _beside(path):
        guarded(path, refuse, partial(spec.loader.exec_module, module))
    return module


def function_of(source: str | Path, refuse: type[QuantdiffError]) -> Callable[..., Any]:
    """The function of ``FILE.py:function``, whose errors are told as the user's own.

    Raises:
        refuse: as ``module_of``, or the file has no such function.
    """
    path, _, name = str(source).rpartition(":")
    module = module_of(Path(path), refuse)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise refuse(f"{path}: has no function {name}; it has {', '.join(known) or 'none'}")

    def called(*given: Any) -> Any:
        with _beside(Path(path)):
            return guarded(source, refuse, partial(cast("Callable[..., Any]", found), *given))

    return called


def guarded(source: str | Path, refuse: type[QuantdiffError], call: Callable[[], T]) -> T:
    """``call``, whatever it raises as one line.

    Raises:
        refuse: it raised something.
    """
    try:
        return call()
    except QuantdiffError:
        raise
    except (Exception, SystemExit) as error:  # a person's own code
        raise refuse(f"{source}: {type(error).__name__} while it ran: {reason_of(error)}") from error


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
