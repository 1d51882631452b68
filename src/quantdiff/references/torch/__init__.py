"""Programs of ``torch.export``, which are never unpickled, and functions of the user that make a module."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.files import python_function
from quantdiff.lazy import require
from quantdiff.references.formats import FORMATS, Format, Framework, Options


def _takes(source: Any) -> bool:
    """A path by its ending, or a function in a file; torch need not be there for that."""
    return isinstance(source, Path) and (source.suffix == ".pt2" or python_function(source) is not None)


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    if python_function(source) is not None:
        return (import_module("quantdiff.references.torch.module").open_module(source, options.batch),)
    return (import_module("quantdiff.references.torch.reference").open_torch(source),)


def _save(source: Any, path: Path) -> Path:
    raise TypeError("a PyTorch program in memory: torch.export.save writes a .pt2; give its path")


def _import_framework() -> None:
    require("torch", extra="torch")


TORCH = Framework("torch", "torch", _import_framework)

FORMATS.add("torch", Format((".pt2", "FILE.py:function"), _takes, _open, _save, TORCH))
