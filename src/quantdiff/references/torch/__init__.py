"""Programs of ``torch.export``, float and quantized by PT2E; they are read here, never unpickled."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.references.reference import FORMATS, Format, Options


def _takes(source: Any) -> bool:
    """A path by its ending; torch need not be there for that."""
    return isinstance(source, Path) and source.suffix == ".pt2"


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    del options
    return (import_module("quantdiff.references.torch.reference").open_torch(source),)


def _save(source: Any, path: Path) -> Path:
    raise TypeError("a PyTorch program in memory: torch.export.save writes a .pt2; give its path")


FORMATS.add("torch", Format((".pt2",), _takes, _open, _save))
