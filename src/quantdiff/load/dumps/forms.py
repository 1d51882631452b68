"""A dump as it lies on disk: an ``.npz``, a folder of arrays, or numbers that a C program printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import FOLDER, read_file, what_is
from quantdiff.load.dumps.printed import decoded, of_text
from quantdiff.load.npz import MANIFEST, read_arrays
from quantdiff.quant import Array

SCHEMA = "quantdiff/1"
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
        return np.frombuffer(json.dumps({"schema": SCHEMA, **asdict(self)}).encode(), np.uint8)


@dataclass(frozen=True, slots=True)
class Dump:
    """Arrays by the names that the dump has for them, and what it says of itself, if it does.

    ``printed`` is text, in which names can be those of other things than tensors.
    """

    source: str
    arrays: Mapping[str, Array] = field(repr=False)
    manifest: Manifest | None = None
    printed: bool = False


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
        return _filled(Dump(str(path), of_text(path, decoded(read_file(path, AT_MOST))), printed=True))
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
        if said.pop("schema") != SCHEMA:
            raise BadData(f"{path}: its {MANIFEST} is of another version than {SCHEMA}; record again")
        tensors = tuple(RecordedTensor(int(t["index"]), str(t["name"]), str(t["array"])) for t in said.pop("tensors"))
        versions = {str(name): str(version) for name, version in said.pop("versions").items()}
        words = {name: str(said.pop(name)) for name in ("model", "sha256", "runtime", "machine")}
        return Manifest(**words, samples=int(said.pop("samples")), versions=versions, tensors=tensors)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadData(
            f"{path}: its {MANIFEST} is damaged ({reason_of(error)}); record again, or leave it out"
        ) from error


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
    between = next((each for each in ",;\t" if each in text), ",")  # names of tensors hold ; too
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=between))
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
