"""Vectors for hardware: words for ``$readmemh``, one file per vector, or one ``.npz`` per operator."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from quantdiff.paper.vectors import GoldenOperator
from quantdiff.quant import Array

LONGEST = 40


def stem_of(operator: GoldenOperator) -> str:
    """``op_003_conv_2d``: the index, and the op's name in characters that every file system and C take."""
    name = re.sub(r"[^a-z0-9]+", "_", operator.operator.op.lower()).strip("_")[:LONGEST]
    return f"op_{operator.operator.index:03}_{name}"


def write_hex(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """One file per vector, values in C order; returns the file by vector."""
    named = {}
    for vector in operator.vectors:
        named[vector.key] = f"{stem_of(operator)}.{vector.key}.hex"
        (folder / named[vector.key]).write_text(words(vector.array), encoding="ascii")
    return named


def words(array: Array) -> str:
    """Each value as many hexadecimal digits as its type has."""
    size = array.dtype.itemsize
    bits = array.reshape(-1).view(f"u{size}").tolist()
    return "".join(f"{value:0{2 * size}x}\n" for value in bits)


def write_npz(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """All vectors of one operator, by role; returns the file by vector."""
    file = f"{stem_of(operator)}.npz"
    np.savez(folder / file, allow_pickle=False, **{vector.key: vector.array for vector in operator.vectors})
    return {vector.key: file for vector in operator.vectors}
