"""A ``.tflite`` as a reference: on each runtime, and as a file without any."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.files import split_part
from quantdiff.references.formats import FORMATS, Format, Options


def _takes(source: Any) -> bool:
    if isinstance(source, Path):
        file, _ = split_part(source)
        return file.is_file() and not _other(file)
    return isinstance(source, import_module("quantdiff.graph").Model)


def _other(path: Path) -> bool:
    """Whether the ending says that another format reads it: a ``.tflite`` may be called anything else."""
    named = (suffix for name, each in FORMATS.load().items() if name != "tflite" for suffix in each.files)
    return path.suffix in named


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    return tuple(import_module("quantdiff.references.tflite.reference").open_tflite(source, options))


def _save(source: Any, path: Path) -> Path:
    target = path.with_suffix(".tflite")
    target.write_bytes(source.whole())
    return target


FORMATS.add("tflite", Format((".tflite", ".litertlm"), _takes, _open, _save))
