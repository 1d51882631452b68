"""Files that are long, wide or share everything: time grows with their size, and not with its square."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from written_models import Op, T, write_tflite

from quantdiff.cli import main

LONG = 6000
SECONDS = 20.0
"""Where a walk of each operator over the whole chain takes minutes."""


def value(name: str, dtype: str) -> T:
    return T(name, (1, 4), dtype) if dtype == "float32" else T(name, (1, 4), dtype, 0.5, 0)


def chain(ops: tuple[str, ...], dtypes: tuple[str, ...], count: int = LONG) -> bytes:
    tensors = [value(f"t{i}", dtypes[i % len(dtypes)]) for i in range(count + 1)]
    names = [ops[i % len(ops)] for i in range(count)]
    doubled = [[f"t{i}"] * (2 if name in ("ADD", "CONCATENATION") else 1) for i, name in enumerate(names)]
    operators = [Op(name, doubled[i], [f"t{i + 1}"], {}) for i, name in enumerate(names)]
    return write_tflite(tensors, operators, ["t0"], [f"t{count}"])


def shared(count: int = LONG) -> bytes:
    """Operators that share weights, input and output."""
    weights = T("w", (4, 4), "int8", 0.5, 0, data=np.eye(4))
    operators = [Op("FULLY_CONNECTED", ["x", "w"], ["y"], {})] * count
    return write_tflite([value("x", "int8"), weights, value("y", "int8")], operators, ["x"], ["y"])


def fan(dtype: str, count: int = LONG) -> bytes:
    """One tensor that many read, each of whom writes an output."""
    outputs = [f"y{i}" for i in range(count)]
    operators = [Op("RESHAPE", ["x"], [name], {}) for name in outputs]
    return write_tflite([value("x", dtype), *(value(name, dtype) for name in outputs)], operators, ["x"], outputs)


MODELS = {
    "copies": chain(("RESHAPE",), ("int8",)),
    "float copies": chain(("RESHAPE",), ("float32",)),
    "conversions": chain(("QUANTIZE", "DEQUANTIZE"), ("float32", "int8")),
    "requantized": chain(("QUANTIZE",), ("int8",)),
    "sums": chain(("ADD",), ("float32",)),
    "joined": chain(("CONCATENATION",), ("int8",)),
    "shared": shared(),
    "fan": fan("int8"),
    "float fan": fan("float32"),
    "long name": write_tflite([T("a/" * 2_000_000, (1, 4), "int8", 0.5, 0), value("y", "int8")],
                              [Op("RESHAPE", ["a/" * 2_000_000], ["y"], {})], ["a/" * 2_000_000], ["y"]),
}  # fmt: skip


@pytest.mark.parametrize("command", ["lint", "params", "inspect"])
@pytest.mark.parametrize("name", MODELS)
def test_no_square_of_the_size(tmp_path: Path, name: str, command: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(MODELS[name])
    start = time.process_time()
    result = CliRunner().invoke(main, [command, str(path)])
    assert result.exit_code in (0, 1), result.output[-500:]
    assert time.process_time() - start < SECONDS


@pytest.mark.golden
def test_operators_that_would_take_minutes_to_pair_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(MODELS["sums"])
    result = CliRunner().invoke(main, ["advise", str(path), str(path), "--data", "random:2"])
    words = f"{LONG:,} operators beside {LONG:,} are more than can be paired in order"
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr
