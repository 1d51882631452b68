"""A part of a network on real runtimes: it gives what it gives in the whole, on the inputs that it has there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_pairs import residual, write_pair
from written_models import Op, T, write_tflite

from quantdiff.errors import BadModel, NoSuchElement
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import INTEGER_RANGE
from quantdiff.run.extracts import load_and_extract
from quantdiff.run.inputs import inputs_of
from quantdiff.run.recorded import as_batch


@pytest.mark.golden
@pytest.mark.parametrize("runtime", ["xnnpack", "tflm"])
def test_a_part_gives_what_it_gives_in_the_whole(tmp_path: Path, runtime: str) -> None:
    pair = write_pair(tmp_path, residual())
    part = load_and_extract(pair.candidate, [1, 2, 3], pair.batch, runtime, samples=16)
    assert (part.mismatches, part.count) == (0, 16 * 16)
    assert part.ends == (("h1",), ("r",))
    (again,) = inputs_of(read_model(memoryview(part.model)), part.batch)
    (x,) = part.batch.arrays.values()
    assert (again.shape, x.shape) == ((16, 1, 16), (16, 16))
    assert x.dtype == np.float32


@pytest.mark.golden
def test_what_stands_for_a_runtime_gives_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated runtime is no process; a recording cannot run a part."""
    monkeypatch.setattr("quantdiff.run.emulation.root", lambda: None)
    pair = write_pair(tmp_path, residual())
    part = load_and_extract(pair.candidate, [1, 2, 3], pair.batch, "builtin@arm64", samples=4)
    assert (part.mismatches, part.count) == (0, 4 * 16)
    with pytest.raises(BadModel, match="extract tries a part of it"):
        load_and_extract(pair.candidate, [1], pair.batch, "recorded:device.npz")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_recorded_integers_become_themselves_again(tmp_path: Path, dtype: str) -> None:
    from written_models import Op, T, write_tflite

    path = tmp_path / "m.tflite"
    tensors = [T(n, (1, 4), dtype, scale=0.1 / 3, zero_point=0 if dtype == "int16" else 7) for n in "xy"]
    path.write_bytes(write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    model = load_tflite(path)
    low, high = INTEGER_RANGE[dtype]
    every = np.resize(np.arange(low, high + 1), (high - low + 4) // 4 * 4).astype(dtype).reshape(-1, 1, 4)
    batch = as_batch(model, [every], "there")
    assert np.array_equal(inputs_of(model, batch)[0], every)


def test_integers_that_no_real_number_says(tmp_path: Path) -> None:
    from written_models import Op, T, write_tflite

    data = write_tflite(
        [T("x", (1, 2), "int32", scale=0.1), T("y", (1, 2), "int32", scale=0.1)],
        [Op("RELU", ["x"], ["y"])],
        ["x"],
        ["y"],
    )
    model: Model = read_model(memoryview(data))
    with pytest.raises(BadModel, match="no exact real values; cut before or behind"):
        as_batch(model, [np.array([[[2**30 + 1, 3]]], np.int32)], "there")


def test_several_inputs_are_numbered(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, residual())
    part = load_and_extract(pair.candidate, [2], Batch(dict(pair.batch.arrays)), "reference", samples=2)
    assert [*part.batch.arrays] == ["0", "1"]


def test_operators_that_take_nothing(tmp_path: Path) -> None:
    """What prepares a constant runs on nothing that could be recorded."""
    scale = np.array([0.5], np.float32)
    tensors = [
        T("c", (1, 2), "int8", scale, [0], data=np.ones((1, 2), np.int8)), T("d", (1, 2), "float32"),
        T("x", (1, 2), "float32"), T("y", (1, 2), "float32"),
    ]  # fmt: skip
    path = tmp_path / "model.tflite"
    path.write_bytes(
        write_tflite(tensors, [Op("DEQUANTIZE", ["c"], ["d"]), Op("ADD", ["x", "d"], ["y"])], ["x"], ["y"])
    )
    with pytest.raises(NoSuchElement, match="constants alone"):
        load_and_extract(path, (0,))
