"""Memory without a name, by its descriptor: it goes with the last process that holds it. Imports no NumPy."""

from __future__ import annotations

import os
import tempfile

from quantdiff.errors import RuntimeFailed

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
