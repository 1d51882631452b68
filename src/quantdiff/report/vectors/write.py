"""Golden vectors as a folder that is whole or not there: NumPy archives, C with a program, words for hardware."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.files import split_part
from quantdiff.paper.vectors import GoldenOperator, GoldenVectors, Vector
from quantdiff.quant import Array
from quantdiff.report.folder import staged
from quantdiff.report.json.text import json_text
from quantdiff.report.text.terminal import prepared_data
from quantdiff.sim.accumulate import axes_of

LONGEST = 40


def stem_of(operator: GoldenOperator) -> str:
    """``op_003_conv_2d``: the index, and the op's name in characters that every file system and C take."""
    name = re.sub(r"[^a-z0-9]+", "_", operator.operator.op.lower()).strip("_")[:LONGEST]
    return f"op_{operator.operator.index:03}_{name}"


def write_hex(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """One file per vector, values in C order; returns the file by vector."""
    named = {}
    for vector in operator.vectors:
        named[vector.key] = f"{stem_of(operator)}.{vector.key}.hex"
        (folder / named[vector.key]).write_text(words(vector.array), encoding="ascii")
    return named


def words(array: Array) -> str:
    """Each value as many hexadecimal digits as its type has."""
    size = array.dtype.itemsize
    bits = array.reshape(-1).view(f"u{size}").tolist()
    return "".join(f"{value:0{2 * size}x}\n" for value in bits)


def write_npz(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """All vectors of one operator, by role; returns the file by vector."""
    file = f"{stem_of(operator)}.npz"
    np.savez(folder / file, allow_pickle=False, **{vector.key: vector.array for vector in operator.vectors})
    return {vector.key: file for vector in operator.vectors}


TYPES = {
    "bool": "uint8_t", "float32": "float", "float64": "double",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
PER_LINE = 16
COPIED = ("layer.h", "main.c")


def write_c(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """The header of one operator; returns the file by vector."""
    file = f"{stem_of(operator)}.h"
    (folder / file).write_text("\n".join(_header(operator)) + "\n", encoding="ascii")
    return {vector.key: file for vector in operator.vectors if vector.array.dtype.name in TYPES}


def write_program(folder: Path, operators: Sequence[GoldenOperator]) -> None:
    """``main.c``, ``layer.h`` and the list of layers."""
    here = files("quantdiff.report.vectors")
    for name in COPIED:
        (folder / name).write_text(here.joinpath(name).read_text(encoding="ascii"), encoding="ascii")
    stems = [stem_of(operator) for operator in operators if operator.channels]
    includes = [f'#include "{stem}.h"' for stem in stems]
    listed = [*(f"&{stem}" for stem in stems), "NULL"]
    lines = ["#include <stddef.h>", "", '#include "layer.h"', *includes, ""]
    lines.append("static const struct layer *const layers[] = {" + ", ".join(listed) + "};")
    (folder / "layers.h").write_text("\n".join(lines) + "\n", encoding="ascii")


def _header(operator: GoldenOperator) -> Iterator[str]:
    stem = stem_of(operator)
    guard = f"QUANTDIFF_{stem.upper()}_H"
    yield f"/* {_comment(operator.operator.op)} #{operator.operator.index}; see manifest.json */"
    yield from (f"#ifndef {guard}", f"#define {guard}", "", "#include <math.h>", "#include <stdint.h>", "")
    for vector in operator.vectors:
        if vector.array.dtype.name in TYPES:
            yield from _array(stem, vector)
    if operator.channels:
        rules = "".join(channel.rounding.value for channel in operator.channels)
        yield f'static const char {stem}_rule[] =\n{_quoted(rules)};\n\n#include "layer.h"\n'
        yield from _layer(stem, operator)
    yield from ("", "#endif")


def _array(stem: str, vector: Vector) -> Iterator[str]:
    name = "" if vector.tensor is None else f" {_comment(vector.tensor.name)}"
    yield f"/* {list(vector.array.shape)}{name} */"
    values = _literals(vector.array.reshape(-1)) or ["0"]
    yield f"static const {TYPES[vector.array.dtype.name]} {stem}_{vector.key}[] = {{"
    yield from (" ".join(f"{v}," for v in values[i : i + PER_LINE]) for i in range(0, len(values), PER_LINE))
    yield "};\n"


def _literals(values: Array) -> list[str]:
    if values.dtype.kind == "f":
        return [_float(v, "f" if values.dtype == np.float32 else "") for v in values.tolist()]
    lowest = {-(2**31): "INT32_MIN", -(2**63): "INT64_MIN"}
    return [lowest.get(v, str(v)) for v in map(int, values.tolist())]


def _float(value: float, suffix: str) -> str:
    """A hexadecimal literal, which loses no bit."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return value.hex() + suffix


def _quoted(text: str) -> str:
    return "\n".join(f'    "{text[i : i + 100]}"' for i in range(0, len(text), 100)) or '    ""'


def _comment(text: str) -> str:
    """Text that cannot end or open a comment, in ASCII."""
    plain = text.encode("unicode_escape").decode("ascii")
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def _layer(stem: str, operator: GoldenOperator) -> Iterator[str]:
    node = operator.node
    points = {role: _zero_point(operator, role) for role in ("input", "weights", "output")}
    low, high = operator.clamp or (0, 0)
    bias = f"{stem}_bias" if operator.array("bias") is not None else "0"
    numbers = {
        **_sizes(operator),
        **{f"{role}_zero_point": point for role, point in points.items()},
        "low": low,
        "high": high,
    }
    yield f"static const struct layer {stem} = {{"
    yield f'    .name = "{stem}", .kind = {node.operator.op}, .is_unsigned = {int(node.x.dtype == "uint8")},'
    yield from (f"    .{name} = {value}," for name, value in numbers.items())
    pointers = ("input", "weights", "output", "accumulator", "rule", "scale", "multiplier", "shift")
    yield from (f"    .{name} = {stem}_{name}," for name in pointers)
    yield f"    .bias = {bias},"
    yield "};"


def _zero_point(operator: GoldenOperator, key: str) -> int:
    tensor = next(vector.tensor for vector in operator.vectors if vector.key == key)
    return tensor.quant.zero_point[0] if tensor and tensor.quant and tensor.quant.zero_point else 0


def _sizes(operator: GoldenOperator) -> dict[str, int]:
    x, w, y = (operator.array(key) for key in ("input", "weights", "output"))
    assert x is not None
    assert w is not None
    assert y is not None
    if operator.operator.op == "FULLY_CONNECTED":
        sizes = dict.fromkeys(("in_h", "in_w", "out_h", "out_w", "taps_h", "taps_w", "stride_h", "stride_w"), 1)
        sizes |= dict.fromkeys(("dilation_h", "dilation_w"), 1) | dict.fromkeys(("pad_top", "pad_left"), 0)
        return sizes | {"batch": y.size // w.shape[-2], "in_c": w.shape[-1], "depth": w.shape[-1], "out_c": w.shape[-2]}
    rows, columns = axes_of(operator.node, x.shape[1:], (w.shape[1], w.shape[2]))
    sizes = {"batch": x.shape[0] * x.shape[1], "in_c": x.shape[-1], "out_c": y.shape[-1], "depth": w.shape[3]}
    for side, axis in (("h", rows), ("w", columns)):
        sizes |= {f"in_{side}": axis.size, f"out_{side}": axis.out, f"taps_{side}": axis.taps}
        sizes |= {f"stride_{side}": axis.stride, f"dilation_{side}": axis.dilation}
    return sizes | {"pad_top": rows.before, "pad_left": columns.before}


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
