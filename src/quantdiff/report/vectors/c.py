"""Vectors as C99: a header per operator, ``layers.h`` that lists those that ``main.c`` recomputes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from quantdiff.paper.vectors import GoldenOperator, Vector
from quantdiff.quant import Array
from quantdiff.report.vectors.hex import stem_of
from quantdiff.sim.window import axes_of

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
