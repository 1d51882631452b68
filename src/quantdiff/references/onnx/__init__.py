"""ONNX models, float and with QuantizeLinear and DequantizeLinear, run by onnxruntime."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.lazy import require
from quantdiff.references.formats import FORMATS, Format, Framework, Options


def _takes(source: Any) -> bool:
    """A path by its ending; onnx need not be there for that."""
    return isinstance(source, Path) and source.suffix == ".onnx"


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    del options
    return (import_module("quantdiff.references.onnx.reference").open_onnx(source),)


def _save(source: Any, path: Path) -> Path:
    raise TypeError("an ONNX model in memory: save it and give its path")


def _import_framework() -> None:
    require("onnxruntime", extra="onnx")


ONNX = Framework("onnxruntime", "onnx", _import_framework)

FORMATS.add("onnx", Format((".onnx",), _takes, _open, _save, ONNX))
