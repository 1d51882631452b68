"""``manifest.json``: what the vectors were made from, and what lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantdiff.paper.vectors import GoldenOperator, GoldenVectors, Vector


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
