"""What a child may not do: it runs a stranger's file. See ``docs/security.md`` for what that is worth."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from quantdiff.files import PREFIX

SET_NO_NEW_PRIVILEGES = 38  # linux/prctl.h
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # linux/sched.h

LEAST = 2**33  # bytes: TensorFlow reserves three times as much as it uses

MEASURES = ("no_new_privileges", "no_network", "memory_limit", "file_size_limit", "scratch_folder")
"""In the order in which they are taken and shown."""


def confine() -> dict[str, bool]:
    """Give up rights that running a model does not take; which of ``MEASURES`` hold.

    To be called before the process has threads: a network of one's own takes a user namespace of one's own where
    we are not root, and Linux gives that to a process of one thread only.
    """
    taken = _no_new_privileges, _no_network, _memory_limit, _file_size_limit, _scratch_folder
    return {name: _held(take) for name, take in zip(MEASURES, taken, strict=True)}


def _held(take: Callable[[], bool]) -> bool:
    try:
        return take()
    except (ImportError, AttributeError, ValueError, OSError):
        return False


def _no_new_privileges() -> bool:
    """No program that it starts can have more rights than it has."""
    return bool(_linux().prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0)


def _no_network() -> bool:
    """A network without any device."""
    libc = _linux()
    return any(libc.unshare(flags) == 0 for flags in (NEW_NETWORK, NEW_USER | NEW_NETWORK))


def _linux() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise OSError
    return ctypes.CDLL(None)


def _memory_limit() -> bool:
    """Address space as much as the machine has memory: a damaged model that asks for terabytes fails by itself."""
    import resource  # noqa: PLC0415 (not on every system)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return _limit(resource.RLIMIT_AS)


def _file_size_limit() -> bool:
    """No file larger than memory."""
    import resource  # noqa: PLC0415

    return _limit(resource.RLIMIT_FSIZE)


def _scratch_folder() -> bool:
    """Temporary files lie in a folder that goes with the process; the parent made it."""
    folder = Path(tempfile.gettempdir())
    return folder.name.startswith(PREFIX) and os.access(folder, os.W_OK)


def _limit(what: int) -> bool:
    import resource  # noqa: PLC0415

    total = max(LEAST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    hard = resource.getrlimit(what)[1]
    most = total if hard == resource.RLIM_INFINITY else min(total, hard)
    resource.setrlimit(what, (most, most))
    return True
