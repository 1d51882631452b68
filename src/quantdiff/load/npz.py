"""Arrays of files. Large ones stay there: the system reads the pages that are looked at, and may have them back.

The sizes of an ``.npz``'s members are read before anything is unpacked.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.quant import Array

if TYPE_CHECKING:
    from quantdiff.load.data import Slot

CUT_SHORT = b"error: a file was cut short while it was read; run the command again when nobody writes to it\n"
AT_ONCE = 2**22  # elements, or bytes, looked at together


NPY_MAGIC = b"\x93NUMPY"


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an ``.npz``, or the one of an ``.npy`` (memory-mapped) as ``x``.

    Raises:
        BadData: the file is missing, damaged, of another kind, or holds pickled objects; or it is compressed and
            would take more memory than ``QUANTDIFF_UNPACKED_AT_MOST`` allows.
    """
    wanted = "give an .npz with `x` (and labels `y`) or an .npy"
    try:
        with open_file(path) as file:
            return _arrays(path, file)
    except FileNotFoundError as error:
        raise BadData(f"{path}: no such data file; {wanted}") from error
    except OSError as error:
        raise BadData(f"{path}: {error.strerror or reason_of(error)}; {wanted}") from error
    except BadData:
        raise
    except Exception as error:  # a damaged file makes NumPy and zipfile raise whatever there is
        why = f"not a readable .npz or .npy file ({reason_of(error)})"
        raise BadData(f"{path}: {why}; save it again, or let --data FILE.py:function read it") from error


def _arrays(path: Path, file: BinaryIO) -> dict[str, Array]:
    if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
        file.seek(0)
        plain_header(file, str(path))
        guard()
        return {"x": np.lib.format.open_memmap(path, mode="r")}
    file.seek(0)
    with zipfile.ZipFile(file) as archive:  # NumPy would take anything else for a pickle
        check_sizes(path, archive.infolist())
        return {name.removesuffix(".npy"): _member(path, archive, name) for name in archive.namelist()}


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    try:
        return read_member(path, archive, name)
    except BadData:
        raise
    except Exception as error:
        raise ValueError(f"{name}: {reason_of(error)}") from error


MANIFEST = "quantdiff.json"
"""The member of an ``.npz`` of ours that says what the others are, as bytes of JSON."""


def is_dump(path: Path) -> bool:
    """Whether it is an ``.npz`` of ours."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return f"{MANIFEST}.npy" in archive.namelist()
    except Exception:  # no archive, or one that is damaged: who reads it says so
        return False


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


LARGE = 2**24  # bytes from which on an array stays in its file
HEADER, NAME_AT = 30, 26  # of a zip's local file header: its fixed size, where the lengths of name and extra stand
UNPACKED = "QUANTDIFF_UNPACKED_AT_MOST"
"""The variable of the environment that says how many bytes the compressed arrays of a file may take in memory."""
UNPACKED_AT_MOST = 2**31


def check_sizes(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse a file that would take much more memory, or time, than it is large.

    Raises:
        BadData: says how to go on.
    """
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise BadData(f"{path}: its members lie over each other; save it again")
    unpacked = sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)
    if unpacked > unpacked_at_most():
        raise BadData(
            f"{path}: takes {unpacked:,} bytes when it is unpacked; "
            f"save it by np.savez, which does not compress, or set {UNPACKED} to as many bytes if you trust it"
        )


def unpacked_at_most() -> int:
    """How many bytes data may take that their size on disk does not bound.

    Raises:
        BadData: the variable holds no number.
    """
    said = os.environ.get(UNPACKED) or str(UNPACKED_AT_MOST)
    if not (said.isascii() and said.isdigit()):
        raise BadData(f"{UNPACKED}={said}: give a number of bytes, such as {UNPACKED_AT_MOST}")
    return int(said)


def read_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """One array: left in its file, or read where it is small, compressed, or in Fortran's order.

    Raises:
        BadData: it holds Python objects.
        BadZipFile, ValueError: the member is damaged, or no array; and whatever else a damaged one makes Python raise.
    """
    info = archive.getinfo(name)
    with archive.open(name) as member:
        shape, in_fortran_order, dtype = plain_header(member, f"{path}, {name}")
        header = member.tell()
        if prod(shape) * dtype.itemsize != info.file_size - header:
            raise ValueError(f"{name} says it has shape {shape} of {dtype}, which is not the size that it has")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size < LARGE or in_fortran_order:
            member.seek(0)
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
            return array
        while member.read(AT_ONCE):  # the archive compares its checksum at the end
            pass
    with path.open("rb") as file:
        file.seek(info.header_offset + NAME_AT)
        before = HEADER + sum(struct.unpack("<HH", file.read(4)))
    guard()
    return np.memmap(path, dtype, "r", info.header_offset + before + header, shape)


def plain_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of the ``.npy`` array that begins here.

    Raises:
        BadData: the array holds Python objects.
        ValueError: no array begins here, or its header is damaged.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_fortran_order, dtype = read(file)
    if dtype.hasobject:
        raise BadData(f"{where}: holds pickled Python objects, which are never loaded; save plain arrays instead")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} cannot be")
    return shape, in_fortran_order, dtype


ELEMENTS_AT_ONCE, SAMPLES_AT_ONCE = 2**22, 1000


def at_once(inputs: Sequence[Array]) -> int:
    """How many samples run together."""
    elements = max(1, sum(array[:1].size for array in inputs))
    return max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // elements))


def slices(inputs: Sequence[Array], slots: Sequence[Slot]) -> Iterator[list[Array]]:
    """The data as the model's inputs, as many samples at once as memory bears."""
    size = at_once(inputs)
    for start in range(0, len(inputs[0]), size):
        pairs = zip(inputs, slots, strict=True)
        yield [array[start : start + size].astype(slot.dtype, copy=False) for array, slot in pairs]
        release(inputs)


def check_samples(name: str, array: Array, source: str, rows: slice) -> None:
    """Refuse samples that are no finite numbers; ``rows`` are those that are wanted.

    Raises:
        BadData: an array of another type, an empty one, NaN or infinity.
    """
    if array.dtype.kind not in "fiub":
        raise BadData(f"{source}: `{name}` has type {array.dtype}; samples are numbers")
    if array.ndim == 0 or array.size == 0:
        raise BadData(f"{source}: `{name}` is empty (shape {shape_text(array.shape)}); nothing can be compared")
    first, _, _ = rows.indices(len(array))
    for start, part in blocks(array[rows]) if array.dtype.kind == "f" else ():
        if not np.isfinite(part).all():
            where = np.argwhere(~np.isfinite(part))[0]
            raise BadData(
                f"{source}: `{name}` holds NaN or infinity, first in sample {first + start + where[0]} "
                f"at {shape_text(tuple(int(i) for i in where[1:]))}; clean the data first"
            )


def shape_text(shape: Sequence[int | None]) -> str:
    """``(28, any)``."""
    return "(" + ", ".join("any" if n in (None, -1) else str(n) for n in shape) + ")"
