"""A dump as it lies on disk: an ``.npz``, a folder of arrays, or numbers that a C program printed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import FOLDER, read_file, what_is
from quantdiff.load.data import read_arrays
from quantdiff.quant import Array

MANIFEST = "quantdiff.json"
"""The member of an ``.npz`` of ours that says what the others are, as bytes of JSON."""
RAW_TYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bool",
)
AT_MOST = 2**31  # bytes of a raw file, or of text
COLUMNS = ("tensor", "dtype", "file")
FORMS = (
    "an .npz, a folder of .npy files (or raw ones and a .csv with tensor, dtype, file), or text of lines NAME: NUMBERS"
)

NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?[fFuUlL]?|nan|inf)"
OPENS, BETWEEN, CLOSES = r"[\[({\s]*", r"[\s,;\])}\[({]+", r"[\s,;\])}]*$"
LINE = re.compile(
    r"\s*(?:(?:static|const|constexpr|unsigned|signed|char|int|float|u?int\d+_t)\s+)*"
    rf"(?P<name>\S.{{0,400}}?)\s*(?:\[\d*\]\s*)*[:=](?P<rest>{OPENS}{NUMBER}(?![\w.:]).*|\s*[\[({{]?\s*)$"
)
NUMBERS = re.compile(rf"{OPENS}{NUMBER}(?:{BETWEEN}{NUMBER})*{CLOSES}")
CLOSED = re.compile(CLOSES)


@dataclass(frozen=True, slots=True)
class RecordedTensor:
    """A tensor of the file: its index, its name, and the array that holds it."""

    index: int
    name: str
    array: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a dump of ours says of itself: the file's sha256, who ran it where, and which array is which tensor."""

    model: str
    sha256: str
    runtime: str
    machine: str
    samples: int
    versions: Mapping[str, str] = field(default_factory=dict)
    tensors: tuple[RecordedTensor, ...] = ()

    def packed(self) -> Array:
        """As an array of bytes. Shape: (bytes,)."""
        return np.frombuffer(json.dumps({"schema": "quantdiff/1", **asdict(self)}).encode(), np.uint8)


@dataclass(frozen=True, slots=True)
class Dump:
    """Arrays by the names that the dump has for them, and what it says of itself, if it does."""

    source: str
    arrays: Mapping[str, Array] = field(repr=False)
    manifest: Manifest | None = None


def read_dump(path: Path) -> Dump:
    """A dump in any of its forms.

    Raises:
        BadData: there is none, it is cut off or damaged, or it is none of ``FORMS``.
    """
    try:
        if what_is(path) == FOLDER:
            return _filled(Dump(str(path), dict(_of_folder(path))))
        if path.suffix.lower() in (".npz", ".npy"):
            arrays = dict(read_arrays(path)) if path.suffix.lower() == ".npz" else {path.stem: _npy(path)}
            manifest = arrays.pop(MANIFEST, None)
            return _filled(Dump(str(path), arrays, None if manifest is None else _manifest(path, manifest)))
        return _filled(Dump(str(path), _of_text(path, read_file(path, AT_MOST).decode())))
    except FileNotFoundError as error:
        raise BadData(f"{error.filename or path}: no such dump; give {FORMS}") from error
    except OSError as error:
        raise BadData(f"{path}: {error.strerror or reason_of(error)}; give {FORMS}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: neither text nor an .npz; give {FORMS}") from error


def _filled(dump: Dump) -> Dump:
    if not dump.arrays:
        raise BadData(f"{dump.source}: holds no tensors; give {FORMS}")
    return dump


def _manifest(path: Path, packed: Array) -> Manifest:
    try:
        said: Any = json.loads(packed.tobytes())
        said.pop("schema")
        tensors = tuple(RecordedTensor(int(t["index"]), str(t["name"]), str(t["array"])) for t in said.pop("tensors"))
        versions = {str(name): str(version) for name, version in said.pop("versions").items()}
        words = {name: str(said.pop(name)) for name in ("model", "sha256", "runtime", "machine")}
        return Manifest(**words, samples=int(said.pop("samples")), versions=versions, tensors=tensors)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadData(f"{path}: its {MANIFEST} is damaged ({reason_of(error)}); record again") from error


def _of_folder(path: Path) -> Iterator[tuple[str, Array]]:
    """What the table beside the files names, and every ``.npy`` by its own name."""
    tables = sorted(path.glob("*.csv"))
    if len(tables) > 1:
        raise BadData(f"{path}: {len(tables)} .csv files; leave the one with {', '.join(COLUMNS)}")
    told = set[str]()
    for table in tables:
        for tensor, dtype, name in _rows(table):
            told.add(name)
            yield tensor, _file(path / name, dtype, table)
    for file in sorted(path.glob("*.npy")):
        if file.name not in told:
            yield file.stem, _npy(file)


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    text = read_file(table, AT_MOST).decode()
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise BadData(f"{table}: not a CSV file that can be read ({reason_of(error)})") from error
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and cells[-1:] == ["file"]):
            continue
        if len(cells) != len(COLUMNS):
            raise BadData(f"{table}, line {number}: {len(cells)} cells; give three: {', '.join(COLUMNS)}")
        if cells[1] not in RAW_TYPES:
            raise BadData(f"{table}, line {number}: no type {cells[1]!r}; there are {', '.join(RAW_TYPES)}")
        if Path(cells[2]).name != cells[2]:
            raise BadData(f"{table}, line {number}: {cells[2]!r} is no file beside the table; move it there")
        yield cells[0], cells[1], cells[2]


def _file(file: Path, dtype: str, table: Path) -> Array:
    if file.suffix.lower() == ".npy":
        array = _npy(file)
        if array.dtype.name != dtype:
            raise BadData(f"{file}: holds {array.dtype.name}, {table.name} says {dtype}; correct it there")
        return array
    data, size = read_file(file, AT_MOST), np.dtype(dtype).itemsize
    if not data or len(data) % size:
        raise BadData(f"{file}: {len(data):,} bytes are no whole number of {dtype}; is it cut off?")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))


def _npy(file: Path) -> Array:
    arrays = read_arrays(file)
    if len(arrays) != 1:
        raise BadData(f"{file}: holds {len(arrays)} arrays, a .npy has one; call it .npz")
    return next(iter(arrays.values()))


def _of_text(path: Path, text: str) -> dict[str, Array]:
    """Lines ``NAME: NUMBERS``, on which lines of nothing but numbers go on; a name again is the next sample.

    Other lines are what a device says besides.
    """
    found: dict[str, list[list[str]]] = {}
    name, row = "", list[str]()
    for number, read in enumerate(text.splitlines(), 1):
        line = rest = " ".join(read.split())
        named = LINE.match(line)
        if named is not None:
            name, rest, row = named["name"].strip("'\""), named["rest"], []
            if not rest.strip(" \t[({"):  # they stand on the lines that follow, if they are numbers
                continue
        elif not name or not NUMBERS.match(line):
            name = name if CLOSED.match(line) else ""
            continue
        if not NUMBERS.match(rest):
            raise BadData(f"{path}, line {number}: {rest.strip()[:40]!r} are not numbers; print NAME: 1, -3, …")
        if not row:
            found.setdefault(name, []).append(row)
        row += re.findall(NUMBER, rest)
    return {name: _numbers(path, name, rows) for name, rows in found.items()}


def _numbers(path: Path, name: str, rows: list[list[str]]) -> Array:
    """Shape: (samples, numbers); int64 where all are whole."""
    sizes = {len(row) for row in rows}
    if len(sizes) > 1:
        raise BadData(f"{path}: {name} is printed with {min(sizes):,} and {max(sizes):,} numbers; is it cut off?")
    words = [[word.lower() for word in row] for row in rows]
    try:
        return np.array([[int(_plain(word), 16 if "x" in word else 10) for word in row] for row in words], np.int64)
    except (ValueError, OverflowError):  # fractions, or beyond int64
        return np.array([[_real(word) for word in row] for row in words], np.float64)


def _plain(word: str) -> str:
    """Without what C writes behind a number for its type."""
    return word if word.endswith("inf") else word.rstrip("ul" if "x" in word else "ful")


def _real(word: str) -> float:
    return float(min(int(_plain(word), 16), 2**1023)) if "x" in word else float(_plain(word))
