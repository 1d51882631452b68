"""Windows as rows of their own: a RESHAPE makes several rows of one sample where the file states one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.errors import UnsupportedOp
from quantdiff.ladder.real_graph import RealGraph, Setting
from quantdiff.ladder.switches import real_graph
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array

X = np.random.default_rng(3).normal(size=(3, 1, 8))


def windows(folder: Path) -> RealGraph:
    """Two windows of four, in the shape that they have."""
    tensors = [
        T("x", (1, 8), "float32"),
        T("to", (2,), "int32", data=[-1, 4]),
        T("rows", (1, 4), "float32"),
        T("shape", (2,), "int32"),
        T("y", (1, 4), "float32"),
    ]
    operators = [
        Op("RESHAPE", ["x", "to"], ["rows"]),
        Op("SHAPE", ["rows"], ["shape"], {"outType": 2}, "ShapeOptions"),
        Op("RESHAPE", ["rows", "shape"], ["y"]),
    ]
    (folder / "model.tflite").write_bytes(write_tflite(tensors, operators, ["x"], ["y"]))
    return real_graph(load_tflite(folder / "model.tflite").main)


def test_a_shape_is_that_of_the_run(tmp_path: Path) -> None:
    real = windows(tmp_path)
    y = real.run([X], Setting())[real.graph.outputs[0]]
    np.testing.assert_array_equal(y, X.reshape(3, 2, 4))


def test_a_shape_that_the_runtime_recorded_for_each_sample_is_one_shape(tmp_path: Path) -> None:
    real = windows(tmp_path)
    (_, shape, last) = real.graph.operators
    recorded = np.tile(np.asarray([2, 4], np.int32), (3, 1))
    known: dict[int, Array] = {shape.outputs[0]: recorded, last.inputs[0]: X.reshape(3, 2, 4)}
    assert real.run([X], Setting(), known)[last.outputs[0]].shape == (3, 2, 4)
    with pytest.raises(UnsupportedOp, match="the shape depends on the data"):
        real.run([X], Setting(), {**known, shape.outputs[0]: recorded * [[1], [1], [2]]})
