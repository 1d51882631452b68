"""Programs of ``torch.export``, which are never unpickled, and functions of the user that make a module."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.files import python_function
from quantdiff.lazy import require
from quantdiff.references.formats import FUNCTIONS, Format, Framework, Options, in_files_alone


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    if python_function(source) is not None:
        return (import_module("quantdiff.references.torch.reference").open_module(source, options.batch),)
    return (import_module("quantdiff.references.torch.reference").open_torch(source),)


def _save(source: Any, path: Path) -> Path:
    raise TypeError("a PyTorch program in memory: torch.export.save writes a .pt2; give its path")


def _import_framework() -> None:
    require("torch", extra="torch")


TORCH = Framework("torch", "torch", _import_framework)
FORMAT = Format((".pt2", FUNCTIONS), in_files_alone, _open, _save, TORCH)
