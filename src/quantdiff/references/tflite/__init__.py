"""A ``.tflite`` as a reference: on each runtime, and as a file without any."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.references.formats import Format, opened_by


def _takes(source: Any) -> bool:
    return isinstance(source, import_module("quantdiff.graph").Model)


def _save(source: Any, path: Path) -> Path:
    target = path.with_suffix(".tflite")
    target.write_bytes(source.whole())
    return target


OPEN = opened_by("quantdiff.references.tflite.reference", "open_tflite")
FORMAT = Format((".tflite", ".litertlm"), _takes, OPEN, _save)
