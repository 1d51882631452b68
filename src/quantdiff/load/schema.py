"""The TFLite schema as data: which slot of which table holds which field, and the names of the enums.

``schema.txt`` is written by ``scripts/write_schema.py``; importing the generated Python module instead
would cost 0.3 s and gives accessors that trust every offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SCHEMAS = "schema.txt", "litertlm.txt"


@dataclass(frozen=True, slots=True)
class Field:
    """One slot: ``kind`` is a scalar (``int32``), ``string``, ``union``, ``none`` or a table's name."""

    name: str
    kind: str
    is_vector: bool
    enum: str | None
    default: int | bool | str


@cache
def enum(name: str) -> dict[int, str]:
    """Number → name of one enum."""
    numbers, following = {}, 0
    for word in _lines()["enum", name]:
        member, _, number = word.partition("=")
        following = int(number or following)
        numbers[following] = member
        following += 1
    return numbers


def fields(table: str) -> tuple[Field, ...]:
    """The fields of one table in slot order."""
    return tuple(map(_field, _lines()["table", table]))


def tables() -> tuple[str, ...]:
    """The names of all tables."""
    return tuple(name for kind, name in _lines() if kind == "table")


@cache
def _lines() -> dict[tuple[str, str], tuple[str, ...]]:
    texts = (files("quantdiff.load").joinpath(name).read_text(encoding="utf-8") for name in SCHEMAS)
    text = "".join(texts)
    words = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return {(kind, name): tuple(rest) for kind, name, *rest in words}


def _field(word: str) -> Field:
    name, _, spelled = word.partition(":")
    spelled, _, default = spelled.partition("=")
    is_vector = spelled.startswith("[")
    kind, _, enum_name = spelled.strip("[]").partition("/")
    return Field(name, kind, is_vector, enum_name or None, _default(kind, default))


def _default(kind: str, spelled: str) -> int | bool | str:
    if kind == "bool":
        return spelled == "True"
    return "" if kind == "string" else int(spelled or 0)
