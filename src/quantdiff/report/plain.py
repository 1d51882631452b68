"""Plain text for any form: what is printable, names as a person reads them, numbers as JSON has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

NAME_AT_MOST = 300
"""Characters of a name in a table or a sentence; JSON has them all."""


def short(name: str) -> str:
    """The first path of a tensor's name, which names the last layer in it, cut where nobody would read it."""
    return printable(cropped(name.partition(";")[0], NAME_AT_MOST))


def cropped(name: str, room: int) -> str:
    """The end of a name that is too long: it tells a path from its neighbours, which begin alike."""
    return name if len(name) <= room else "…" + name[len(name) - room + 1 :]


def printable(text: str) -> str:
    """``text`` with every character that moves the cursor, or shows nothing, as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_text(document: Mapping[str, Any] | list[Any]) -> str:
    """One JSON document in ASCII: numbers never rounded, NaN and infinity as strings."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:  # there is one: walking over all numbers first would cost every document the time
        return json.dumps(_finite(document), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value
