"""Inner tensors from a real runtime: slice by slice, beside the outputs of the untouched file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.load.written import with_outputs
from quantdiff.quant import Array
from quantdiff.run import inner_tensors as inner
from quantdiff.run.runner import RuntimeProcess
from quantdiff.sim.runtime import Runtime

TENSORS = [
    T("x", (1, 4), scale=1.0, shape_signature=(-1, 4)),
    T("twice", (1, 4), scale=1.0, shape_signature=(-1, 4)),
    T("four", (1, 4), scale=1.0, shape_signature=(-1, 4)),
]
CHAIN = write_tflite(
    TENSORS, [Op("ADD", ["x", "x"], ["twice"]), Op("ADD", ["twice", "twice"], ["four"])], ["x"], ["four"]
)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    return load_tflite(path)


def read(model: Model, x: Array, *, alone: bool) -> list[inner.Reading]:
    with RuntimeProcess("reference") as process:
        return list(inner.read_tensors(model, [1, 0], Batch({"x": x}), process, alone=alone))


@pytest.mark.golden
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("at_once", [2**27, 2 * 16 * 7])
def test_inner_values_slice_by_slice(model: Model, monkeypatch: pytest.MonkeyPatch, at_once: int, alone: bool) -> None:
    monkeypatch.setattr(inner, "BYTES_AT_ONCE", at_once)
    x = np.arange(-40, 40, dtype=np.float32).reshape(20, 4) / 3
    seen = read(model, x, alone=alone)
    assert [reading.start for reading in seen] == ([0] if at_once > 1000 else [0, 7, 14])
    shape = (20, 1, 4) if alone else (20, 4)
    given, twice = (np.concatenate([reading.values[i] for reading in seen]) for i in (0, 1))
    assert given.shape == twice.shape == shape
    assert np.array_equal(given, np.concatenate([reading.inputs[0] for reading in seen]))
    assert np.array_equal(twice, 2 * given)
    assert np.array_equal(np.concatenate([reading.outputs[0] for reading in seen]), 2 * twice)
    assert all(reading.outputs[0] is reading.values[2] for reading in seen)
    assert {(reading.changed, reading.batched) for reading in seen} == {(0, not alone)}


@pytest.mark.golden
@pytest.mark.parametrize("alone", [True, False])
def test_an_output_that_changes_is_counted_and_stays_that_of_the_untouched_file(
    model: Model, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    other = write_tflite(
        TENSORS, [Op("ADD", ["x", "x"], ["twice"]), Op("ADD", ["twice", "x"], ["four"])], ["x"], ["four"]
    )
    monkeypatch.setattr(inner, "with_outputs", lambda data, tensors: with_outputs(other, tensors))
    x = np.array([[1, 2, 0, 3]], np.float32)
    (reading,) = read(model, x, alone=alone)
    assert reading.changed == 3  # all but the 0
    assert reading.outputs[0].ravel().tolist() == [4, 8, 0, 12]
    with RuntimeProcess("reference") as process:
        every = inner.read_everything(model, [x[:, None].astype(np.int8)], process)
    assert every.changed == 3
    assert {i: array.ravel().tolist() for i, array in every.values.items()} == {
        0: [1, 2, 0, 3],
        1: [2, 4, 0, 6],
        2: [4, 8, 0, 12],
    }


@pytest.mark.golden
def test_a_simulated_reading_is_the_same(model: Model) -> None:
    x = np.arange(-40, 40, dtype=np.float32).reshape(20, 4)
    (real,) = read(model, x, alone=True)
    (simulated,) = inner.simulate_tensors(model, [1, 0], Batch({"x": x}), Runtime.REFERENCE)
    assert all(np.array_equal(real.values[i], simulated.values[i]) for i in (0, 1))
    assert np.array_equal(real.outputs[0], simulated.outputs[0])


def test_a_state_that_an_operator_makes_is_not_read() -> None:
    """As of an LSTM in 16-bit floats: what stands there in the end is what the LSTM left."""
    tensors = [T("x", (1, 4), "float32"), T("s", (1, 4), "float32", is_variable=True), T("y", (1, 4), "float32")]
    operators = [Op("ADD", ["x", "x"], ["s"]), Op("ADD", ["s", "x"], ["y"])]
    graph = read_model(memoryview(write_tflite(tensors, operators, ["x"], ["y"]))).main
    assert [graph.tensors[i].name for i in inner.readable_tensors(graph, None)] == ["y"]


def test_a_note_where_reading_changed_outputs() -> None:
    assert inner.disturbed(0) == ()
    assert inner.disturbed(3, "tflite:builtin")[0].startswith("3 outputs of tflite:builtin changed when")
