"""Files that a user names: only a regular one is opened, since a FIFO or a device can keep us waiting for ever.

And folders for a while: they go when they are done with; those of a process that was killed go at the next start.
Memory that processes share has no name, and goes with the last of them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from operator import or_
from pathlib import Path
from typing import BinaryIO

from quantdiff.errors import RuntimeFailed

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


def python_function(source: str | Path) -> tuple[Path, str] | None:
    """``FILE.py:function`` as both; None for other names."""
    path, _, name = str(source).rpartition(":")
    return (Path(path), name) if path.endswith(".py") and name.isidentifier() else None


LOCKS = True


try:
    import fcntl
except ImportError:  # Windows: folders have no locks there, so nobody sweeps
    LOCKS = False


PREFIX = "quantdiff-run-"


@contextmanager
def scratch(prefix: str = PREFIX, where: Path | None = None) -> Iterator[Path]:
    """A new folder in ``where`` (that of temporary files), gone after the block. What others left goes first.

    Its lock says that its maker lives, whatever number the process has.

    Raises:
        OSError: nothing can be written there.
    """
    where = where or Path(tempfile.gettempdir())
    if not LOCKS:
        with tempfile.TemporaryDirectory(prefix=prefix, dir=where, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    _sweep(prefix, where)
    folder, lock = _made(prefix, where)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(prefix: str, where: Path) -> tuple[Path, int]:
    """A folder and its lock; made again where another process swept it before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: then nobody sweeps there
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(prefix: str, where: Path) -> None:
    """Remove the folders of this user whose makers are dead."""
    for folder in where.glob(f"{prefix}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def own_temporary_files() -> Iterator[None]:
    """Let this process and its children put temporary files into a folder that goes with the block.

    TensorFlow's AutoGraph writes a Python file for every function that it rewrites, and a process that is killed
    leaves them.
    """
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    try:
        context = scratch()
        folder = context.__enter__()
    except OSError:  # no such folder, or it is full: whoever needs one says so
        yield
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[1]
        if before[0] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[0]
        context.__exit__(None, None, None)


ZEROS = bytes(2**20)


def reserved_descriptor(size: int) -> int:
    """New memory of at least a byte. Its pages are there, so that nobody dies of a bus error where memory ends.

    Raises:
        RuntimeFailed: the system has no room for it.
    """
    descriptor = _nameless()
    try:
        _reserve(descriptor, max(1, size))
    except OSError as error:
        os.close(descriptor)
        raise RuntimeFailed(f"no room for {size:,} bytes of arrays ({error.strerror}); use fewer samples") from error
    return descriptor


def _nameless() -> int:
    """Memory, where the system has it without a name (Linux); else a file that is in no folder."""
    try:
        return os.memfd_create("quantdiff")
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for start in range(0, size, len(ZEROS)):
        os.write(descriptor, ZEROS[: size - start])
