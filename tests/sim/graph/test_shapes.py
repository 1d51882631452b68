"""Stored shapes are claims: what the operators make is told beside them."""

from __future__ import annotations

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.sim.graph import shapes
from quantdiff.sim.graph.shapes import false_shapes
from quantdiff.sim.graph.simulator import Calls, simulate
from quantdiff.sim.node import NoKernel, sized
from quantdiff.sim.runtime import Runtime


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


@pytest.mark.parametrize("shape", [(2**20, 2**20), (0, 2**31 - 1, 2**31 - 1)])
def test_an_input_without_end_is_not_made(shape: tuple[int, ...]) -> None:
    tensors = [T("x", shape, scale=0.5), T("y", (1,), scale=0.5)]
    data = write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"])
    assert list(false_shapes(read_model(memoryview(np.frombuffer(data, np.uint8).data)).main)) == []


@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D", "CONV_2D"])
def test_sums_without_end_are_not_taken(op: str) -> None:
    """A window, or a kernel, over all of a large image: days of work from a file of a few hundred bytes."""
    side = {"CONV_2D": 40}.get(op, 1000)
    tensors = [T("x", (1, 1000, 1000, 1), scale=0.5), T("y", (1, 1, 1, 1), scale=0.5)]
    tensors += [T("w", (9, side, side, 1), scale=0.5, data=0), T("b", (9,), "int32", 0.25, data=0)]
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    window = {"padding": 0, "strideH": 1, "strideW": 1, "filterHeight": side, "filterWidth": side}
    step = Op(op, ["x", "w", "b"], ["y"], options) if op == "CONV_2D" else Op(op, ["x"], ["y"], window)
    model = read_model(memoryview(write_tflite(tensors, [step], ["x"], ["y"])))
    image = np.zeros((1, 1, 1000, 1000, 1), np.int8)
    chain = simulate(model.main, [image], Runtime.REFERENCE, calls=Calls(products=shapes.PRODUCTS))
    assert [item.why for item in chain.missing] == ["it takes too many products"]
    assert list(false_shapes(model.main)) == []


@pytest.mark.parametrize("op", ["MUL", "ADD", "RESHAPE"])
def test_complex_numbers_have_no_kernel(op: str) -> None:
    tensors = [T("a", (1, 2), scale=0.5), T("b", (1, 2), "complex64", scale=0.5), T("y", (1, 3), scale=0.5)]
    data = write_tflite(tensors, [Op(op, ["a", "b"], ["y"])], ["a", "b"], ["y"])
    assert list(false_shapes(read_model(memoryview(data)).main)) == []


HUGE = 2**30
PADDED = T("s", (2, 2), "int32", data=[[0, 0], [HUGE, 0]])
IMAGE = T("i", (1, 2, 2, 1), scale=0.5, data=1)
FILTER = T("f", (1, 2, 2, 1), scale=0.5, data=1)


@pytest.mark.parametrize(
    ("op", "constants", "options"),
    [
        ("FILL", [T("s", (1,), "int32", data=HUGE), T("v", (), "int8", data=1)], {}),
        ("TILE", [T("t", (1, 1), scale=0.5, data=1), T("s", (2,), "int32", data=2**20)], {}),
        ("BROADCAST_TO", [T("t", (1, 1), scale=0.5, data=1), T("s", (2,), "int32", data=2**20)], {}),
        ("PAD", [T("t", (1, 1), scale=0.5, data=1), PADDED], {}),
        ("PADV2", [T("t", (1, 1), scale=0.5, data=1), PADDED, T("v", (1,), "int8", data=1)], {}),
        ("SCATTER_ND", [*(T(n, (1, 1), "int32", data=1) for n in "iu"), T("s", (1,), "int32", data=HUGE)], {}),
        ("RESIZE_BILINEAR", [IMAGE, T("s", (2,), "int32", data=2**15)], {}),
        ("RESIZE_NEAREST_NEIGHBOR", [IMAGE, T("s", (2,), "int32", data=2**15)], {}),
        ("CONV_2D", [IMAGE, FILTER], {"strideW": 1, "strideH": 1, "dilationWFactor": HUGE, "dilationHFactor": 1}),
    ],
)
def test_what_a_file_asks_for_is_not_made_without_end(op: str, constants: list[T], options: dict[str, int]) -> None:
    tensors = [T("x", (1, 2), scale=0.5), *constants, T("y", (1, 2), scale=0.5)]
    operator = Op(op, [tensor.name for tensor in constants], ["y"], options)
    graph = read_model(memoryview(write_tflite(tensors, [operator], ["x"], ["y"]))).main
    (missing,) = simulate(graph, [np.zeros((1, 1, 2), np.int8)], Runtime.REFERENCE).missing
    assert missing.why.endswith("it makes a tensor of more than 33554432 elements")
    assert list(false_shapes(graph)) == []


def test_where_memory_ends_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(shapes, "simulate", full)
    data = write_tflite([T("x", (1, 2)), T("y", (3,))], [Op("RELU", ["x"], ["y"])], ["x"], ["y"])
    assert list(false_shapes(read_model(memoryview(data)).main)) == []


def test_a_large_image_may_become_larger() -> None:
    assert sized((2**13, 2**13, 4), 2**13 * 2**12 * 4) == (2**13, 2**13, 4)
    with pytest.raises(NoKernel, match="more than 33554432 elements"):
        sized((2**13, 2**13, 4))


@pytest.mark.parametrize("outputs", [[], ["y", "z"]])
def test_a_variable_with_other_outputs_than_one(outputs: list[str]) -> None:
    tensors = [T("x", (1, 2), "float32"), T("y", (1, 2), "float32"), T("z", (1, 2), "float32")]
    handle = Op("VAR_HANDLE", [], outputs, {"sharedName": b"state"})
    graph = read_model(memoryview(write_tflite(tensors, [handle], ["x"], ["x"]))).main
    assert list(false_shapes(graph)) == []
