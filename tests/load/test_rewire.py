"""A model that takes inner tensors as inputs, run on a real interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.errors import BadModel
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.load.written import with_inputs
from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.run.runner import RuntimeProcess

NONE = {"fusedActivationFunction": 0}
CHAIN = write_tflite(
    [T(name, (1, 4), "float32", shape_signature=(-1, 4)) for name in ("x", "twice", "four")],
    [Op("ADD", ["x", "x"], ["twice"], NONE), Op("ADD", ["twice", "twice"], ["four"], NONE)],
    ["x"],
    ["four"],
)


def run(model: bytes, folder: Path, *inputs: Array) -> list[Array]:
    path = folder / "model.tflite"
    path.write_bytes(model)
    with RuntimeProcess("reference") as process:
        process.load(path)
        return process.run(inputs, len(load_tflite(path).main.outputs), lambda done: None)[0]


@pytest.mark.golden
def test_operators_read_what_is_given(tmp_path: Path) -> None:
    x, given = np.ones((3, 4), np.float32), np.full((3, 4), 5, np.float32)
    changed = with_inputs(CHAIN, {1: None}, [1, 2])
    twice, four = run(changed, tmp_path, x, given)
    assert (twice == 2).all()  # from x itself
    assert (four == 10).all()  # from what was given instead


@pytest.mark.golden
@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", 3), ("uint8", 130), ("int16", 0)])
def test_integers_of_another_model_are_dequantized(tmp_path: Path, dtype: str, zero_point: int) -> None:
    grid = Grid(QuantParams((0.5,), (zero_point,)), dtype, "t")
    x, given = np.ones((3, 4), np.float32), (np.arange(12).reshape(3, 4) + zero_point).astype(dtype)
    (four,) = run(with_inputs(CHAIN, {1: grid}, [2]), tmp_path, x, given)
    assert np.array_equal(four, np.arange(12).reshape(3, 4))


def test_the_file_names_the_copies() -> None:
    model = with_inputs(CHAIN, {1: None}, [2])
    assert b"given/twice" in model


def test_copies_have_no_long_names() -> None:
    """Thousands of copies of a name of 10 MB would be more than any file holds."""
    long = [T("é" * 10_000 + name, (1, 4), "float32") for name in ("x", "y")]
    whole = write_tflite(long, [Op("ADD", [long[0].name, long[0].name], [long[1].name], NONE)], [long[0].name], [])
    (copied,) = (t.name for t in read_model(memoryview(with_inputs(whole, {1: None}, [1]))).main.tensors[2:])
    assert copied == "given/" + "é" * 99 + "y"


def test_what_is_read_of_memory_is_refused_as_a_file_is() -> None:
    with pytest.raises(BadModel):
        read_model(memoryview(b"\x10\0\0\0TFL3" + bytes(3) + b"\xff" * 30))


def test_floats_are_made_just_before_they_are_read(tmp_path: Path) -> None:
    grid = Grid(QuantParams((0.5,), (3,)), "int8", "t")
    path = tmp_path / "model.tflite"
    path.write_bytes(with_inputs(CHAIN, {0: grid, 1: grid, 2: grid}, [1, 2]))
    operators = [operator.op for operator in load_tflite(path).main.operators]
    assert operators == ["DEQUANTIZE", "ADD", "DEQUANTIZE", "ADD"]  # nothing reads what was given for the last one


def test_what_is_no_model() -> None:
    with pytest.raises(BadModel, match="cannot be written anew"):
        with_inputs(b"\x10\0\0\0TFL3" + bytes(3), {}, [])
