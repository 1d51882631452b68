"""Write golden vectors to a folder that is complete or not there, with what they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.files import split_part
from quantdiff.paper.vectors import GoldenOperator, GoldenVectors, Vector
from quantdiff.report.folder import staged
from quantdiff.report.json.text import json_text
from quantdiff.report.text.terminal import prepared_data
from quantdiff.report.vectors.c import write_c, write_program
from quantdiff.report.vectors.hex import write_hex, write_npz


def manifest(vectors: GoldenVectors, form: str, sha256: str, files: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The whole document; ``files`` has for each operator the file of each vector, where its type has a place."""
    return {
        "schema": "quantdiff/1",
        **vectors.made_by,
        "model_sha256": sha256,
        "runtime": vectors.runtime,
        "format": form,
        "samples": vectors.samples,
        "operators": [_operator(each, named) for each, named in zip(vectors.operators, files, strict=True)],
    }


def _operator(golden: GoldenOperator, files: Mapping[str, str]) -> dict[str, Any]:
    operator = golden.operator
    return {
        "index": operator.index,
        "op": operator.op,
        "kernel": golden.kernel,
        "options": {name: _plain(value) for name, value in operator.options.items()},
        "rule": "".join(channel.rounding.value for channel in golden.channels) or None,
        "clamp": golden.clamp,
        "simulator_mismatches": golden.mismatches,
        "unreadable": list(golden.unreadable),
        "vectors": {vector.key: _vector(vector, files.get(vector.key)) for vector in golden.vectors},
    }


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _vector(vector: Vector, file: str | None) -> dict[str, Any]:
    described = {"file": file, "shape": list(vector.array.shape), "dtype": vector.array.dtype.name}
    tensor = vector.tensor
    if tensor is None:
        return described
    quant = tensor.quant
    return described | {
        "tensor": tensor.index,
        "name": tensor.name,
        "stored_dtype": tensor.dtype,
        "constant": tensor.is_constant,
        "scale": None if quant is None else list(quant.scale),
        "zero_point": None if quant is None else list(quant.zero_point),
        "axis": None if quant is None else quant.axis,
    }


MANIFEST = "manifest.json"
WRITERS = {"npz": write_npz, "c": write_c, "hex": write_hex}


def write_vectors(vectors: GoldenVectors, model: Path, out: Path, form: str) -> dict[str, Any]:
    """All files of one format, ``manifest.json`` among them, whose content is returned.

    Raises:
        CannotWrite: ``out`` is a file, or the system refuses.
    """
    with staged(out) as folder:
        files = [WRITERS[form](folder, operator) for operator in vectors.operators]
        if form == "c":
            write_program(folder, vectors.operators)
        document = manifest(vectors, form, hashlib.sha256(split_part(model)[0].read_bytes()).hexdigest(), files)
        (folder / MANIFEST).write_text(json_text(document) + "\n", encoding="ascii")
    return document


def summary(vectors: GoldenVectors, out: Path, form: str) -> str:
    """One line: what was written, and how far ``main.c`` can check it."""
    checked = sum(bool(operator.channels) for operator in vectors.operators)
    data = prepared_data(str(vectors.made_by.get("data", "")))
    line = f"{out}: {len(vectors.operators)} operators on {vectors.runtime}, {vectors.samples} samples{data}"
    line += f", {checked} with accumulators; manifest.json says what lies where"
    return line + ("" if checked or form != "c" else "; main.c has no layer to check, so it will print FAIL")
