"""Vectors as words for ``$readmemh``: one file per vector, one word a line, two's complement, floats as their bits."""

from __future__ import annotations

from pathlib import Path

from quantdiff.paper.vectors import GoldenOperator
from quantdiff.quant import Array
from quantdiff.report.vectors.names import stem_of


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
