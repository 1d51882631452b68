"""Attacks on the bytes of a ``.tflite``: random damage, and changes to what the schema says stands there."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as generated
from written_models import pack

from quantdiff.load import flatbuffer
from quantdiff.load.flatbuffer import SCALARS, Reader

EVIL = (0, 1, 2, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF, 2**63 - 1, 2**63)
EVIL_REAL = (0.0, -0.0, -0.5, 1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
WIRES = {
    "inputs",
    "outputs",
    "intermediates",
    "opcode_index",
    "tensor_index",
    "subgraph_index",
    "mutating_variable_inputs",
}
REST = "options and the rest"
Attack = Callable[[bytes, Random, tuple[bytes, ...]], bytes]


class Place(NamedTuple):
    """A number in the file: what attack it is open to, where it stands, and its ``struct`` code."""

    attack: str
    at: int
    code: str


@cache
def places(data: bytes) -> tuple[Place, ...]:
    """Every number of a whole file that the schema knows; nested tables too."""
    reader, (root,) = Reader(memoryview(data)), struct.unpack_from("<I", data)
    todo, found = [("Model", root)], list[Place]()
    while todo:
        name, at = todo.pop()
        record, vtable = reader.table(name, at), at - struct.unpack_from("<i", data, at)[0]
        slots = struct.unpack_from(f"<{struct.unpack_from('<H', data, vtable)[0] // 2 - 2}H", data, vtable + 4)
        for number, (slot, field) in enumerate(zip(slots, flatbuffer.fields(name), strict=False)):
            found.append(Place("fields", vtable + 4 + 2 * number, "H"))
            if slot and field.kind != "none":
                found += _numbers(data, name, field, at + slot)
                kind = record[f"{field.name}_type"] if field.kind == "union" else field.kind
                if kind not in {*SCALARS, "string"}:
                    to = record[field.name]
                    todo += [(kind, each) for each in (to if isinstance(to, tuple) else (to,))]
    return tuple(dict.fromkeys(found))


def _numbers(data: bytes, table: str, field: flatbuffer.Field, at: int) -> Iterator[Place]:
    """The field's own number, or its offset, the length that this leads to, and the items behind that."""
    attack = _attack(table, field)
    if field.kind in SCALARS and not field.is_vector:
        yield Place(attack, at, SCALARS[field.kind])
        return
    yield Place("offsets", at, "I")
    target = at + struct.unpack_from("<I", data, at)[0]
    if field.is_vector or field.kind == "string":
        yield Place("lengths", target, "I")
    if field.is_vector:
        code = SCALARS.get(field.kind, "I")
        attack = attack if field.kind in SCALARS else "offsets"
        for number in range(struct.unpack_from("<I", data, target)[0]):
            yield Place(attack, target + 4 + number * struct.calcsize(f"<{code}"), code)


def _attack(table: str, field: flatbuffer.Field) -> str:
    named = {"shape": "shapes", "shape_signature": "shapes", "buffer": "buffers", **dict.fromkeys(WIRES, "indices")}
    if "Quantization" in table:
        return "quantization"
    if "Sparsity" in table or table == "DimensionMetadata" or table.endswith("Vector"):
        return "sparsity"
    if table == "Buffer":
        return "weights" if field.kind == "uint8" else "buffers"
    return "enums" if field.enum else named.get(field.name, REST)


def number(attack: str) -> Attack:
    """The attack that changes one to three numbers of its kind."""

    def changed(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
        open_to, mutant = _open_to(data, attack), bytearray(data)
        for place in rng.choices(open_to, k=rng.choice((1, 1, 2, 3))) if open_to else ():
            struct.pack_into(f"<{place.code}", mutant, place.at, _other(place, data, rng))
        return bytes(mutant)

    return changed


@cache
def _open_to(data: bytes, attack: str, code: str = "") -> tuple[Place, ...]:
    return tuple(place for place in places(data) if place.attack == attack and code in ("", place.code))


def _other(place: Place, data: bytes, rng: Random) -> Any:
    """Another number: evil, close to what is there, that of another place of its kind, or for an offset anywhere."""
    (is_there,) = struct.unpack_from(f"<{place.code}", data, place.at)
    alike = _open_to(data, place.attack, place.code)
    (elsewhere,) = struct.unpack_from(f"<{place.code}", data, rng.choice(alike).at)
    if place.code in "fd":
        return rng.choice((*EVIL_REAL, -is_there, elsewhere))
    bits = 8 * struct.calcsize(f"<{place.code}")
    near = is_there + rng.choice((-4, -1, 1, 4)), rng.randrange(len(data)), rng.randrange(8)
    value = rng.choice((rng.choice(EVIL), elsewhere, *near)) % 2 ** min(bits, 64)
    if place.code == "?":
        return not is_there
    return value - 2**bits if place.code.islower() and value >= 2 ** (bits - 1) else value


def bits(data: bytes, rng: Random, __: tuple[bytes, ...]) -> bytes:
    """Some bits flipped."""
    mutant = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        mutant[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(mutant)


def words(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """An evil number anywhere."""
    mutant = bytearray(data)
    struct.pack_into("<I", mutant, 4 * rng.randrange(len(data) // 4), rng.choice(EVIL) % 2**32)
    return bytes(mutant)


def cut(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def splice(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """A part of this or another file over, or between, what stands there."""
    other, size, at = rng.choice((data, rng.choice(others))), rng.randint(1, 256), rng.randrange(len(data))
    start = rng.randrange(len(other))
    part = other[start : start + size]
    return data[:at] + part + data[at + rng.choice((0, len(part))) :]


def records(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """A whole file again, in which values are dropped, doubled, mixed, or taken from a record of the same kind."""
    while True:
        model, other = (generated.ModelT.InitFromPackedBuf(each, 0) for each in (data, rng.choice((data, *others))))
        for _ in range(rng.choice((1, 1, 2, 4))):
            _change(rng, list(_attributes(model)), list(_attributes(other)))
        try:
            return pack(model)
        except (AttributeError, TypeError, ValueError, struct.error):  # what the schema's own writer cannot write
            continue


def _attributes(record: Any) -> Iterator[tuple[Any, str]]:
    for name, value in vars(record).items():
        yield record, name
        for item in value if isinstance(value, list) else (value,):
            if type(item).__module__ == generated.__name__:
                yield from _attributes(item)


def _change(rng: Random, mine: list[tuple[Any, str]], theirs: list[tuple[Any, str]]) -> None:
    record, name = rng.choice(mine)
    value = getattr(record, name)
    alike = [getattr(each, also) for each, also in theirs if also == name and type(each) is type(record)]
    if isinstance(value, list | np.ndarray) and len(value) and rng.random() < 0.5:
        items = [value[rng.randrange(len(value))] for _ in range(rng.choice((0, 1, len(value), len(value) + 1, 40)))]
        setattr(record, name, items if isinstance(value, list) else np.array(items, value.dtype))
    elif alike and rng.random() < 0.8:
        setattr(record, name, rng.choice(alike))
    elif not isinstance(value, int | float):
        setattr(record, name, None)


GROUPS = ("shapes", "quantization", "sparsity", "buffers", "weights", "indices", "enums", "fields", "offsets")
ATTACKS: dict[str, Attack] = {
    "bits flipped": bits,
    "a word replaced": words,
    "the end cut off": cut,
    "spliced with another file": splice,
    "records dropped, doubled, mixed": records,
    **{f"numbers: {group}": number(group) for group in (*GROUPS, "lengths", REST)},
}
