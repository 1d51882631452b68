"""``.litertlm`` files, one section behind the other; and the parts of a model that can be meant.

The format is that of LiteRT-LM, ``schema/core/litertlm_header_schema.fbs``: a magic word, a version of three numbers,
the end of the header, and from byte 32 a flatbuffer that says which section lies where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from quantdiff.graph import Model
from quantdiff.load.flatbuffer import Damaged, Reader
from quantdiff.load.written import make_main

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


def _part_of(model: Model, data: memoryview, signature: str) -> Model:
    """The model with the subgraph of ``signature`` as the main one, and its bytes."""
    content = bytearray(data)
    if signature:
        chosen = next((each for each in model.signatures if each.key == signature), None)
        if chosen is None:
            there = ", ".join(each.key for each in model.signatures) or "none"
            raise NotThere(f"it has no signature {signature!r}; there are {there}")
        if chosen.subgraph and _is_called(model, 0):
            raise NotThere(f"signature {signature!r} cannot be taken alone: an operator calls the main subgraph")
        make_main(content, chosen.subgraph)
        model = replace(
            model,
            subgraphs=(model.subgraphs[chosen.subgraph], *model.subgraphs[1:]),
            signatures=(replace(chosen, subgraph=0),),
        )
    return replace(model, content=bytes(content))


def _is_called(model: Model, subgraph: int) -> bool:
    operators = (op for graph in model.subgraphs for op in graph.operators)
    return any(
        value == subgraph for op in operators for name, value in op.options.items() if name.endswith("subgraph_index")
    )
