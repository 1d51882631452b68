"""ONNX models, float and with QuantizeLinear and DequantizeLinear, run by onnxruntime."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.references.formats import Format, Framework, Options, in_files_alone


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    del options
    return (import_module("quantdiff.references.onnx.reference").open_onnx(source),)


def _save(source: Any, path: Path) -> Path:
    raise TypeError("an ONNX model in memory: save it and give its path")


def _import_framework() -> None:
    import_module("quantdiff.references.onnx.reference")


ONNX = Framework("onnxruntime", "onnx", _import_framework)
FORMAT = Format((".onnx",), in_files_alone, _open, _save, ONNX)
