"""The members of an ``.npz``: sizes are read before anything is unpacked, and large arrays stay in their file."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from quantdiff.errors import BadData
from quantdiff.load.mapped import AT_ONCE, guard
from quantdiff.quant import Array

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
