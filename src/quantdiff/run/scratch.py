"""Folders for a while: they go when they are done with; those of a process that was killed go at the next start."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
