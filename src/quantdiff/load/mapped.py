"""Large arrays stay in their file: the system reads the pages that are looked at, and may have them back."""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from quantdiff.quant import Array

LARGE = 2**24  # bytes from which on an array stays in its file
AT_ONCE = 2**22  # elements, or bytes, looked at together
HEADER, NAME_AT = 30, 26  # of a zip's local file header: its fixed size, where the lengths of name and extra stand


def read_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array | None:
    """One array of an ``.npz`` left in its file; None where it is small, compressed, or of a type that must be read.

    Raises:
        BadZipFile, ValueError: the member is damaged; it is read once to find out.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size < LARGE:
        return None
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, in_fortran_order, dtype = read(member)
        header = member.tell()
        while member.read(AT_ONCE):  # the archive compares its checksum at the end
            pass
    if dtype.hasobject or in_fortran_order:
        return None
    with path.open("rb") as file:
        file.seek(info.header_offset + NAME_AT)
        before = HEADER + sum(struct.unpack("<HH", file.read(4)))
    return np.memmap(path, dtype, "r", info.header_offset + before + header, shape)


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
