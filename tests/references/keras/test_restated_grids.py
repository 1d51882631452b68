"""Behind a mean the converter restates the grid of what it reads; the trained model has no quantizer there."""

from __future__ import annotations

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.references.keras.reference import without_restated_grids


@pytest.mark.parametrize(("scale", "stays"), [(0.02, False), (0.03, True)])
def test_only_a_grid_of_its_own_is_a_quantizer_behind_a_mean(scale: float, stays: bool) -> None:
    tensors = [
        T("x", (1, 4, 4, 2), "float32"),
        T("q", (1, 4, 4, 2), "uint8", 0.02, 7),
        T("d", (1, 4, 4, 2), "float32"),
        T("axes", (2,), "int32", data=np.array([1, 2])),
        T("m", (1, 2), "float32"),
        T("again", (1, 2), "uint8", scale, 7),
        T("y", (1, 2), "float32"),
    ]
    operators = [
        Op("QUANTIZE", ["x"], ["q"]),
        Op("DEQUANTIZE", ["q"], ["d"]),
        Op("MEAN", ["d", "axes"], ["m"], {}, "ReducerOptions"),
        Op("QUANTIZE", ["m"], ["again"]),
        Op("DEQUANTIZE", ["again"], ["y"]),
    ]
    graph = without_restated_grids(read_model(memoryview(write_tflite(tensors, operators, ["x"], ["y"])))).main
    again, q = (next(t for t in graph.tensors if t.name == name) for name in ("again", "q"))
    assert (again.grid is not None) == stays
    assert q.grid is not None
