"""CSV: a row for each sample, a column for each value, and one for the labels where there is one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.load.data import Batch, Slot, make_batch
from quantdiff.quant import Array

EXACT = 2**53  # from here on, float64 has no place for all whole numbers
LABELS = ("y", "label", "labels", "class", "target")


def from_csv(path: Path, slots: Sequence[Slot]) -> Batch:
    """Numbers as the model's input, in its shape where the sizes fit; a column named as ``LABELS`` holds the labels.

    Raises:
        BadData: cells that are no numbers, rows of several lengths, or labels that are no whole numbers.
    """
    try:
        with open_file(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            rows = [row for row in csv.reader(text) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: not a CSV file that can be read ({reason_of(error)})") from error
    header = [] if not rows or all(map(_is_number, rows[0])) else [name.strip().lower() for name in rows.pop(0)]
    values = _numbers(path, rows, len(header) or None, first=2 if header else 1)
    place = next((header.index(name) for name in LABELS if name in header), None)
    arrays: dict[str, Array] = {"x": values if place is None else np.delete(values, place, axis=1)}
    if place is not None:
        labels = values[:, place]
        if not (np.array_equal(labels, np.rint(labels)) and np.abs(labels).max() < EXACT):
            raise BadData(f"{path}: the column {header[place]!r} holds {_odd(labels):g}; labels are whole numbers")
        arrays["y"] = labels.astype(np.int64)
    with np.errstate(over="ignore"):  # infinity is refused with the others
        arrays["x"] = _shaped(arrays["x"].astype(np.float32), slots)
    return make_batch(arrays, str(path))


def _odd(labels: Array) -> float:
    """The first that is no whole number."""
    return float(next(each for each in labels if each != np.rint(each) or not abs(each) < EXACT))


def _numbers(path: Path, rows: Sequence[Sequence[str]], wide: int | None, first: int) -> Array:
    if not rows:
        raise BadData(f"{path}: holds no rows of numbers")
    wide = wide or len(rows[0])
    for line, row in enumerate(rows, first):
        if len(row) != wide:
            raise BadData(f"{path}: line {line} has {len(row)} cells, others have {wide}")
    try:
        return np.array(rows, np.float64)
    except ValueError as error:
        at, cell = next((i, cell) for i, row in enumerate(rows, first) for cell in row if not _is_number(cell))
        raise BadData(f"{path}: line {at} holds {cell[:40]!r}, which is no number") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _shaped(values: Array, slots: Sequence[Slot]) -> Array:
    """A row's values as the only input wants them."""
    shape = slots[0].shape[1:] if len(slots) == 1 else ()
    sizes = [n for n in shape if n is not None and n > 0]
    if len(sizes) == len(shape) and prod(sizes) == values.shape[1]:
        return values.reshape(len(values), *sizes)
    return values
