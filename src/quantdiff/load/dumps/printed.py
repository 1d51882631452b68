"""Numbers that a program printed, in C, C++, Python, JSON or a log, by the names that stand before them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.quant import Array

NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?[fFuUlL]?|nan|inf)"
OPENS, BETWEEN, CLOSES = r"[\[({\s]*", r"[\s,;\])}\[({]+", r"[\s,;\])}]*$"
NUMBERS = re.compile(rf"{OPENS}{NUMBER}(?:{BETWEEN}{NUMBER})*{CLOSES}")
SOME_NUMBERS = re.compile(rf"{OPENS}{NUMBER}{BETWEEN}{NUMBER}")
BYTES = re.compile(r"[\[({\s]*((?:[0-9a-fA-F]{2})+(?:[\s,]+(?:[0-9a-fA-F]{2})+)*)[\s,;\])}]*$")
"""Hexadecimal without ``0x``."""
CLOSED, OPENED = re.compile(CLOSES), re.compile(OPENS + "$")
PLACED = re.compile(rf"\s*(?:\[\s*(\d+)\s*\]\s*[:=]?|(\d+)\s*[:=)])\s*({NUMBER})\s*[,;]?$")
"""A number behind its place, as in ``[0] -128`` or ``0: -128``."""
BEHIND_NAME = re.compile(r"[:=](?=[\s\[({+\-.\da-fA-F]|$)")
NAMES_AT_MOST, NAME_AT_MOST = 16, 400
"""Places in a line where a name could end, and its characters."""
BESIDE = re.compile(
    r"^\[[\d:., ]+\] ?(?=[<A-Za-z_])|^\d+:\d\d(?::\d\d)?(?:[.,]\d+)? (?:-> )?"  # the time
    r"|(?:^|(?<=[ ,;{}]))//.*$|/\*[^*]*\*/"  # comments
    r"|\b(?:np\.|numpy\.|tf\.|torch\.)?(?:array|[tT]ensor)\(|,? ?\b(?:shape|dtype|device)=(?:\([\d, ]*\)|[\w.':]+)\)?"
)
COLOURS = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")
BRACE = re.compile(r"(?<=[\w>\])])\s*\{")
ABOUT_TYPES = re.compile(
    r"<[^>]*>|\([^()]*\)|\[[^\]]*\]"
    r"|\b(?:static|const|constexpr|alignas|unsigned|signed|char|short|int|long|float|double|(?:u?int|float)\d+(?:_t)?)\b"
    r"|\bstd::(?:array|vector)\b"
)
ELIDED = "..."


def decoded(data: bytes) -> str:
    """Text in any of the ways that terminals save it: UTF-8, UTF-16 with its mark, or bytes that are neither.

    Raises:
        UnicodeDecodeError: these are no characters.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:
        raise UnicodeDecodeError("utf-8", data, data.index(b"\0"), data.index(b"\0") + 1, "no text")
    return data.decode("utf-8-sig", errors="replace")


def of_text(source: Path, text: str) -> dict[str, Array]:
    """Arrays by name. Shapes: (samples, numbers), or as JSON has them.

    Lines are ``NAME: NUMBERS``, on which lines of nothing but numbers go on; a name again is the next sample. Other
    lines are what a device says besides.

    Raises:
        BadData: numbers that stop or are left out, with the line.
    """
    documents = _documents(source, text) if text.lstrip()[:1] in ("{", "[") else None
    if documents is not None:
        return documents
    found: dict[str, list[list[str]]] = {}
    name, row = "", list[str]()
    for number, read in enumerate(COLOURS.sub("", text).splitlines(), 1):
        line = BESIDE.sub(" ", " ".join(read.split())).strip()
        placed = PLACED.match(line) if name else None
        named = None if placed and int(placed[1] or placed[2]) == len(row) else _named(line)
        if named is not None:
            name, row = named[0], []
        elif not name:
            continue
        words = _words(f"{source}, line {number}", named[1] if named else placed[3] if placed else line)
        if words is None and named is None:
            name = ""
        if not words:  # they stand on the lines that follow, if they are numbers
            continue
        if not row:
            found.setdefault(name, []).append(row)
        row += words
    return {name: _numbers(source, name, rows) for name, rows in found.items()}


def _named(line: str) -> tuple[str, str] | None:
    """The name that a line begins with, and its numbers, if they are some; the first reading that makes sense."""
    line = line if "=" in line else BRACE.sub(" = {", line, count=1)
    found = islice(BEHIND_NAME.finditer(line[:NAME_AT_MOST]), NAMES_AT_MOST)
    ends = [each.span() for each in found]
    for wanted in (NUMBERS, BYTES, OPENED, SOME_NUMBERS):
        for start, stop in ends:
            name = _without_type(line[:start])
            rest = _without_places(line[:start], line[stop:])
            if name and wanted.match(rest):
                return name, rest
    return None


def _without_type(name: str) -> str:
    """A name as it was declared or logged, without its type, sizes and what a logger puts in brackets."""
    return " ".join(ABOUT_TYPES.sub(" ", name).split()).strip("'\" ,")


def _without_places(name: str, rest: str) -> str:
    """The numbers of ``y[0]=1 y[1]=2``."""
    bare, bracket, _ = name.strip().partition("[")
    return re.sub(rf"[\s,;]*{re.escape(bare)}\[\d+\]\s*[:=]", " ", rest) if bracket and bare else rest


def _words(where: str, rest: str) -> list[str] | None:
    """The numbers of a line as they stand, None where it has none; those in hexadecimal without ``0x`` behind ``$``.

    Raises:
        BadData: there is something else among them.
    """
    if CLOSED.match(rest) or OPENED.match(rest):
        return []
    if NUMBERS.match(rest):
        return re.findall(NUMBER, rest)
    if told := BYTES.match(rest):
        return [f"${word}" for word in re.split(r"[\s,]+", told[1])]
    if ELIDED in rest and not rest.strip("[]{}() .,0123456789-"):
        raise BadData(f"{where}: numbers are left out ({ELIDED}); print all of them")
    if SOME_NUMBERS.match(rest):
        raise BadData(f"{where}: {rest.strip()[:40]!r} are not numbers; print NAME: 1, -3, …")
    return None


def _numbers(source: Path, name: str, rows: list[list[str]]) -> Array:
    """Shape: (samples, numbers); int64 where all are whole."""
    if any(word.startswith("$") for row in rows for word in row):
        rows = [_hexadecimal(row) for row in rows]
    sizes = {len(row) for row in rows}
    if len(sizes) > 1:
        raise BadData(f"{source}: {name} is printed with {min(sizes):,} and {max(sizes):,} numbers; is it cut off?")
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


def _hexadecimal(row: list[str]) -> list[str]:
    """Words of one length are a number each, else they are bytes in a row."""
    words = [word.lstrip("$") for word in row]
    if len({len(word) for word in words}) > 1 or len(words) == 1:
        together = "".join(words)
        words = [together[i : i + 2] for i in range(0, len(together), 2)]
    return [f"0x{word}" for word in words]


def _documents(source: Path, text: str) -> dict[str, Array] | None:
    """JSON: one object of arrays, or a list or lines of objects, a sample each; None where it is none."""
    whole = _parsed([text]) or _parsed(text.splitlines())
    if not whole:
        return None
    samples = whole[0] if len(whole) == 1 and isinstance(whole[0], list) else whole
    if not samples or not all(isinstance(each, dict) for each in samples):
        return None
    held = samples[0] if len(samples) == 1 else {name: [each.get(name) for each in samples] for name in samples[0]}
    return dict(_arrays(source, held))


def _parsed(texts: list[str]) -> list[Any] | None:
    try:
        return [json.loads(each) for each in texts if each.strip()]
    except (ValueError, RecursionError):
        return None


def _arrays(source: Path, held: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    for name, numbers in held.items():
        try:
            array = np.array(numbers)
        except ValueError as error:
            raise BadData(f"{source}: {name} is no array ({reason_of(error)}); is it cut off?") from error
        if array.dtype.kind in "iuf" and array.ndim:
            yield name, array
