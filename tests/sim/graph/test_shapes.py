"""Stored shapes are claims: what the operators make is told beside them."""

from __future__ import annotations

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.sim.graph.shapes import false_shapes


def found(*tensors: T, op: Op) -> list[tuple[str, tuple[int, ...], bool]]:
    model = read_model(memoryview(write_tflite([T("x", (1, 10), scale=0.5), *tensors], [op], ["x"], ["y"])))
    return [(shape.tensor.name, shape.made, shape.left_open) for shape in false_shapes(model.main)]


@pytest.mark.parametrize(("stored", "wrong"), [((1,), []), ((1, 1), [("y", (1,), False)]), ((), [("y", (1,), False)])])
def test_arg_max(stored: tuple[int, ...], wrong: list[object]) -> None:
    axis = T("axis", (1,), "int32", data=1)
    assert found(axis, T("y", stored, "int32"), op=Op("ARG_MAX", ["x", "axis"], ["y"], {"outputType": 2})) == wrong


def test_a_size_that_is_left_open() -> None:
    y = T("y", (1, 3), scale=0.5, shape_signature=(-1, -1))
    assert found(y, op=Op("RELU", ["x"], ["y"])) == [("y", (1, 10), True)]


def test_an_input_without_end_is_not_made() -> None:
    tensors = [T("x", (2**20, 2**20), scale=0.5), T("y", (1,), scale=0.5)]
    data = write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"])
    assert list(false_shapes(read_model(memoryview(np.frombuffer(data, np.uint8).data)).main)) == []
