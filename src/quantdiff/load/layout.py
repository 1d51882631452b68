"""How the fields of one table lie in memory, compiled once for each vtable that a file uses."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from quantdiff.load import schema

SCALARS = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}


class Span(NamedTuple):
    """Bytes ``start`` … ``start + size`` of the file, not read yet."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Form:
    """One table as one ``struct``: its fields present in the file, in the order in which they lie there.

    ``references`` are the fields that hold an offset: name, own place in the table, and what it leads to
    (``table``, ``tables``, ``string``, the struct code of a vector of numbers, or ``span`` and the size of an
    item for a vector that is better not read). ``wide`` are the places of the numbers of 8 bytes.
    """

    unpack: Callable[[memoryview, int], tuple[Any, ...]]
    names: tuple[str, ...]
    enums: tuple[tuple[str, dict[int, str]], ...]
    references: tuple[tuple[str, int, str], ...]
    defaults: dict[str, Any]
    wide: tuple[int, ...] = ()


@lru_cache(maxsize=4096)
def form(table: str, vtable: tuple[int, ...]) -> Form:
    """The form of ``table`` under a vtable given as the place of each slot, 0 for a field left out.

    Raises:
        ValueError: two fields overlap.
    """
    slots = zip(vtable, schema.fields(table), strict=False)
    present = sorted(((at, field) for at, field in slots if at and field.kind != "none"), key=itemgetter(0))
    return Form(
        struct.Struct(_codes(table, present)).unpack_from,
        tuple(field.name for _, field in present),
        tuple((field.name, schema.enum(field.enum)) for _, field in present if field.enum),
        tuple((field.name, at, _unread(table, field)) for at, field in present if _target(field)),
        _defaults(table),
        tuple(at for at, field in present if struct.calcsize(_code(field)) == 8),  # noqa: PLR2004 (bytes)
    )


def _codes(table: str, present: list[tuple[int, schema.Field]]) -> str:
    codes, end = "<", 0
    for at, field in present:
        if at < end or at % min(struct.calcsize(f"<{_code(field)}"), 4):
            raise ValueError(f"{table}: {field.name} overlaps with the field before it, or is not aligned")
        codes += f"{at - end}x{_code(field)}"
        end = struct.calcsize(codes)
    return codes


def _code(field: schema.Field) -> str:
    return "I" if _target(field) else SCALARS[field.kind]


def _target(field: schema.Field) -> str:
    if field.is_vector:
        return "span1" if field.kind == "uint8" else SCALARS.get(field.kind, "tables")
    if field.kind in SCALARS:
        return ""
    return "string" if field.kind == "string" else "table"


def _unread(table: str, field: schema.Field) -> str:
    """The target; the indices of sparse weights are as long as the weights, and stay in the file."""
    target = _target(field)
    return f"span{struct.calcsize(target)}" if table in {"Int32Vector", "Uint16Vector"} else target


@cache
def _defaults(table: str) -> dict[str, Any]:
    known = [field for field in schema.fields(table) if field.kind != "none"]
    return {field.name: _default(field, _unread(table, field)) for field in known}


def _default(field: schema.Field, target: str) -> Any:
    if field.is_vector:
        return Span(0, 0) if target.startswith("span") else ()
    if field.enum:
        return schema.enum(field.enum)[int(field.default)]
    if field.kind in SCALARS:
        return float(field.default) if field.kind.startswith("float") else field.default
    return "" if field.kind == "string" else None
