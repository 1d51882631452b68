"""A ``.tflite`` as a reference: on each runtime, and as a file without any."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.lazy import later
from quantdiff.references.formats import FORMATS, OF_ANY_FILE, Format


def _takes(source: Any) -> bool:
    return isinstance(source, import_module("quantdiff.graph").Model)


def _save(source: Any, path: Path) -> Path:
    target = path.with_suffix(".tflite")
    target.write_bytes(source.whole())
    return target


OPEN = later("quantdiff.references.tflite.reference", "open_tflite")
FORMATS.add(OF_ANY_FILE, Format((".tflite", ".litertlm"), _takes, OPEN, _save))
