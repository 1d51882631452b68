"""``.litertlm`` files, one section behind the other; and what onnx2tf writes beside a file.

The format is that of LiteRT-LM, ``schema/core/litertlm_header_schema.fbs``: a magic word, a version of three numbers,
the end of the header, and from byte 32 a flatbuffer that says which section lies where.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantdiff.load.flatbuffer import Damaged, Reader

MAGIC = b"LITERTLM"
BEGIN, MAJOR = 32, 1  # of the flatbuffer, and the version that is read
MODEL, TYPE, PREFIX = "TFLiteModel", "model_type", "tf_lite_"


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes ``begin`` … ``end`` of the file: what kind they are of, and what the file says of them by key."""

    index: int
    kind: str
    begin: int
    end: int
    items: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What the file calls a model, such as ``prefill_decode``; else the number."""
        return dict(self.items).get(TYPE, "").removeprefix(PREFIX) or str(self.index)

    @property
    def is_model(self) -> bool:
        """Whether it is a ``.tflite``."""
        return self.kind == MODEL


def sections(data: memoryview) -> tuple[Section, ...]:
    """Every section, in the file's order.

    Raises:
        Damaged, struct.error: the header is not whole, or a section lies outside the file.
    """
    major, minor, patch, header_end = struct.unpack_from("<3I4xQ", data, len(MAGIC))
    if major != MAJOR:
        raise Damaged(f"its format has version {major}.{minor}.{patch}; version {MAJOR} is read here")
    if not BEGIN < header_end <= len(data):
        raise Damaged("its header ends outside the file")
    reader = Reader(data[BEGIN:header_end])
    found = reader.root("LiteRTLMMetaData")["section_metadata"]
    places = reader.table("SectionMetadata", found)["objects"] if found else ()
    return tuple(_section(reader, i, place, len(data)) for i, place in enumerate(places))


def _section(reader: Reader, index: int, place: int, size: int) -> Section:
    record = reader.table("SectionObject", place)
    begin, end = record["begin_offset"], record["end_offset"]
    if not BEGIN <= begin <= end <= size:
        raise Damaged(f"section {index} lies outside the file")
    return Section(index, record["data_type"], begin, end, tuple(_items(reader, record["items"])))


def _items(reader: Reader, places: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    for place in places:
        record = reader.table("KeyValuePair", place)
        if record["value_type"] == "StringValue" and record["value"]:
            yield record["key"], reader.table("StringValue", record["value"])["value"]


class NotThere(Exception):
    """A file that is whole has nothing of that name; the message lists what it has."""


def model_in(data: memoryview, wanted: str) -> memoryview:
    """The model of the section ``wanted``, by its name or its number; without one the only model there is.

    Raises:
        NotThere: there is no such model, or several; the message lists them.
        Damaged, struct.error: as ``sections``.
    """
    models = [section for section in sections(data) if section.is_model]
    chosen = [each for each in models if not wanted or wanted in (each.name, PREFIX + each.name, str(each.index))]
    if len(chosen) != 1:
        there = ", ".join(dict.fromkeys(each.name for each in models)) or "none"
        problem = f"no model {wanted!r} in it" if wanted else f"it holds {len(models)} models"
        raise NotThere(f"{problem}; add # and the name or number of one: {there}")
    return data[chosen[0].begin : chosen[0].end]


ENDING = "_tensor_correspondence_report.json"
LARGEST = 2**26
"""Bytes of a report that is read."""
ROOT = "wa/"
"""What onnx2tf writes in place of a slash in front."""


def names_beside(path: Path) -> Mapping[str, str]:
    """By tensor the nodes of the ONNX model that it computes, joined by ``;``; empty without a report that can be read.

    ``net_full_integer_quant.tflite`` is told of by ``net_tensor_correspondence_report.json``.
    """
    report = next(filter(Path.is_file, _reports(path)), None)
    try:
        if report is None or report.stat().st_size > LARGEST:
            return {}
        found: dict[str, list[str]] = {}
        for record in json.loads(report.read_bytes())["records"]:
            name = str(record["onnx_op_name"] or record["onnx_output_name"])
            found.setdefault(str(record["resolved_tflite_tensor_name"]), []).append(_plain(name))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # a hint that cannot be read is none
        return {}
    return {tensor: ";".join(names) for tensor, names in found.items()}


def _reports(path: Path) -> Iterator[Path]:
    """The places where the report may lie: the file's name, and what stands before each of its underscores."""
    parts = path.stem.split("_")
    return (path.with_name("_".join(parts[:n]) + ENDING) for n in range(len(parts), 0, -1))


def _plain(name: str) -> str:
    return name.removeprefix(ROOT[:-1]) if name.startswith(ROOT) else name
