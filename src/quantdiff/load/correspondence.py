"""What onnx2tf writes beside a file: which value of the ONNX model each tensor was. Names propose, data decide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

ENDING = "_tensor_correspondence_report.json"
LARGEST = 2**26
"""Bytes of a report that is read."""
ROOT = "wa/"
"""What onnx2tf writes in place of a slash in front."""


def names_beside(path: Path) -> Mapping[str, str]:
    """By tensor the nodes of the ONNX model that it computes, joined by ``;``; empty without a report that can be read.

    ``net_full_integer_quant.tflite`` is told of by ``net_tensor_correspondence_report.json``.
    """
    report = next(filter(Path.is_file, _reports(path)), None)
    try:
        if report is None or report.stat().st_size > LARGEST:
            return {}
        found: dict[str, list[str]] = {}
        for record in json.loads(report.read_bytes())["records"]:
            name = str(record["onnx_op_name"] or record["onnx_output_name"])
            found.setdefault(str(record["resolved_tflite_tensor_name"]), []).append(_plain(name))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # a hint that cannot be read is none
        return {}
    return {tensor: ";".join(names) for tensor, names in found.items()}


def _reports(path: Path) -> Iterator[Path]:
    """The places where the report may lie: the file's name, and what stands before each of its underscores."""
    parts = path.stem.split("_")
    return (path.with_name("_".join(parts[:n]) + ENDING) for n in range(len(parts), 0, -1))


def _plain(name: str) -> str:
    return name.removeprefix(ROOT[:-1]) if name.startswith(ROOT) else name
