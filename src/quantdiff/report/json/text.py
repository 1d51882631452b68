"""Documents as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


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
