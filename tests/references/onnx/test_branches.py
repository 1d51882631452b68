"""``If`` with a condition that is known is its branch; of others, and of ``Loop``, the values alone are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import N, floats, model, save

from quantdiff.errors import BadModel
from quantdiff.ladder.matching import lowered
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import real_graph
from quantdiff.load.data import make_batch
from quantdiff.references.onnx.reference import OnnxReference, open_onnx

IMAGE = ("n", 3, 8, 8)
CONV = N("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]})
X = floats(5, 3, 8, 8)


def graph(nodes: list[N], end: str = "o", inputs: tuple[Any, ...] = (), **constants: Any) -> Any:
    made = [helper.make_node(n.op, list(n.inputs), list(n.outputs), f"/{n.outputs[0]}", **n.options) for n in nodes]
    stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_graph(made, "inside", list(inputs), [helper.make_empty_tensor_value_info(end)], stored)


def chosen(condition: list[N], then: Any, other: Any, **constants: Any) -> Any:
    """Both branches read what a convolution outside of them gives."""
    nodes = [CONV, *condition, N("If", ["p"], ["y"], {"then_branch": then, "else_branch": other})]
    return model([*nodes, N("Sigmoid", ["y"], ["z"])], {"x": IMAGE}, ["z"], {"w": floats(4, 3, 3, 3), **constants})


THEN = graph([N("Relu", ["c"], ["r"]), N("Mul", ["r", "two"], ["o"])], two=np.float32(2))
OTHER = graph([N("Neg", ["c"], ["o"])])
INNER = graph(
    [
        N("Neg", ["c"], ["r"]),
        N("If", ["q"], ["o"], {"then_branch": graph([N("Neg", ["r"], ["o"])]), "else_branch": OTHER}),
    ],
    q=np.array(True),
)
BY_SHAPE = [N("Shape", ["c"], ["s"]), N("Gather", ["s", "one"], ["d"], {"axis": 0}), N("Equal", ["d", "four"], ["p"])]
SIZES = {"one": np.array(1), "four": np.array(4)}
BY_DATA = [N("ReduceSum", ["c"], ["t"], {"keepdims": 0}), N("Greater", ["t", "none"], ["p"])]


def gives_the_same(reference: OnnxReference) -> None:
    batch = make_batch({"x": X}, "made")
    lowering = reference.lower()
    real = lowered(real_graph(lowering.main)).real
    setting = Setting({}, {}, frozenset(real.varying), frozenset(real.varying))
    ours = real.run(real_inputs(lowering, batch), setting)[lowering.main.outputs[0]]
    theirs = reference.trace(batch).outputs[0].array
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 1e-5
    assert theirs.std() > 0.1


@pytest.mark.parametrize(
    ("condition", "then", "constants", "ops"),
    [
        ([], THEN, {"p": np.array(True)}, ["RELU", "MUL"]),
        ([], THEN, {"p": np.array(False)}, ["NEG"]),
        (BY_SHAPE, THEN, SIZES, ["RELU", "MUL"]),
        (BY_SHAPE, INNER, SIZES, ["NEG", "NEG"]),
        ([], graph([N("Identity", ["c"], ["o"])]), {"p": np.array(True)}, []),
    ],
)
def test_the_branch_that_is_taken_stands_in_its_place(
    condition: list[N], then: Any, constants: dict[str, Any], ops: list[str], tmp_path: Path
) -> None:
    reference = open_onnx(save(tmp_path, chosen(condition, then, OTHER, **constants)))
    gives_the_same(reference)
    found = [op.op for op in reference.lower().main.operators if op.op not in ("TRANSPOSE", "RESHAPE")]
    assert found == ["CONV_2D", *ops, "LOGISTIC"]


def test_a_condition_that_depends_on_the_data_is_told_and_values_are_there(tmp_path: Path) -> None:
    path = save(tmp_path, chosen(BY_DATA, THEN, OTHER, none=np.float32(0)))
    with pytest.raises(BadModel, match="its condition depends on the data; nobody looks into its branches"):
        open_onnx(path).lower()
    reference = open_onnx(path)
    with reference.recorder() as recorder:
        seen = recorder.run([X[:1]])  # one sample: the sum is that of all that run at once
    place = next(place for place in seen.flow.places if place.name == "/y/If")
    behind = reference.trace(make_batch({"x": X[:1]}, "made")).outputs[0].array
    assert np.allclose(1 / (1 + np.exp(-seen.value(place.key))), behind, atol=1e-6)


def looping(goes_on: list[N], end: str, count: Any = 3, **more: Any) -> Any:
    """Rounds of ``relu(a) + c``, of which ``c`` comes from outside; ``end`` says whether there is another."""
    kinds: list[tuple[str, int, Any]] = [
        ("i", onnx.TensorProto.INT64, []), ("k", onnx.TensorProto.BOOL, []), ("a", onnx.TensorProto.FLOAT, None),
    ]  # fmt: skip
    inputs = tuple(helper.make_tensor_value_info(*each) for each in kinds)
    body = graph([*goes_on, N("Relu", ["a"], ["r"]), N("Add", ["r", "c"], ["o"])], end, inputs)
    body.output.append(helper.make_empty_tensor_value_info("o"))
    constants = {"three": np.array(count), "yes": np.array(True), "a": np.zeros((1, 4, 8, 8), np.float32)}
    nodes = [CONV, N("Loop", ["three", "yes", "a"], ["y"], {"body": body}), N("Sigmoid", ["y"], ["z"])]
    return model(nodes, {"x": IMAGE}, ["z"], {"w": floats(4, 3, 3, 3), **constants, **more})


@pytest.mark.parametrize("goes_on", [([N("Identity", ["k"], ["l"])], "l"), ([N("Identity", ["yes"], ["l"])], "l")])
def test_rounds_that_are_known_are_written_out(goes_on: tuple[list[N], str], tmp_path: Path) -> None:
    reference = open_onnx(save(tmp_path, looping(*goes_on)))
    gives_the_same(reference)
    found = [op.op for op in reference.lower().main.operators]
    assert [found.count(op) for op in ("RELU", "ADD", "If", "Loop")] == [2, 3, 0, 0]  # of zeros the RELU is known


@pytest.mark.parametrize("count", [3, 10_000])
def test_what_a_body_reads_from_outside_depends_on_the_data(count: int, tmp_path: Path) -> None:
    """Its own inputs are constants, and yet what it gives is none; how often it runs it says itself."""
    less = N("Less", ["i", "two"], ["l"]) if count == 3 else N("Identity", ["k"], ["l"])
    reference = open_onnx(save(tmp_path, looping([less], "l", count, two=np.array(2))))
    assert "y" not in reference.program.constants
    with pytest.raises(BadModel, match=r"Loop '/y/Loop' \(nobody looks into its body\)"):
        reference.lower()


def scanning(axis: int = 1, options: Any = None, **more: Any) -> Any:
    """A running sum over one axis of an image, and what each step gives."""
    inputs = tuple(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("a", "b"))
    body = graph([N("Tanh", ["b"], ["t"]), N("Add", ["a", "t"], ["o"]), N("Mul", ["o", "b"], ["m"])], "o", inputs)
    body.output.append(helper.make_empty_tensor_value_info("m"))
    said = {"body": body, "num_scan_inputs": 1, "scan_input_axes": [axis], "scan_output_axes": [1], **(options or {})}
    nodes = [
        N("Neg", ["x"], ["c"]),
        N("ReduceMax", ["c"], ["start"], {"axes": [axis], "keepdims": 0}),
        N("Scan", ["start", "c"], ["last", "all"], said),
        N("Unsqueeze", ["last", "one"], ["l"]),
        N("Concat", ["l", "all"], ["z"], {"axis": 1}),
    ]
    return model(nodes, {"x": IMAGE}, ["z"], {"one": np.array([1]), **more})


@pytest.mark.parametrize("options", [{}, {"scan_input_directions": [1]}, {"scan_output_directions": [1]}])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_steps_over_an_axis_whose_length_is_known_are_written_out(axis: int, options: Any, tmp_path: Path) -> None:
    reference = open_onnx(save(tmp_path, scanning(axis, options)))
    with_it = _by_onnxruntime(tmp_path, scanning(axis, options))
    batch = make_batch({"x": X}, "made")
    assert np.abs(reference.trace(batch).outputs[0].array - with_it).max() < 1e-6
    gives_the_same(reference)
    found = [op.op for op in reference.lower().main.operators]
    assert (found.count("TANH"), found.count("Scan")) == (3 if axis == 1 else 8, 0)


def _by_onnxruntime(folder: Path, made: Any) -> Any:
    """What the file itself gives, sample by sample; nothing of it is written out."""
    session = pytest.importorskip("onnxruntime").InferenceSession(made.SerializeToString())
    return np.concatenate([session.run(None, {"x": X[i : i + 1]})[0] for i in range(len(X))])


def test_steps_over_the_samples_stay(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"Scan '/last/Scan' \(nobody looks into its body\)"):
        open_onnx(save(tmp_path, scanning(0))).lower()


@pytest.mark.parametrize(("key", "value"), [("scan_input_axes", [99]), ("num_scan_inputs", 7)])
def test_steps_that_are_none_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="onnxruntime refuses it") as told:
        open_onnx(save(tmp_path, scanning(1, {key: value})))
    assert "\n" not in str(told.value)


def test_what_a_loop_collects_is_written_out(tmp_path: Path) -> None:
    made = looping([N("Identity", ["k"], ["l"])], "l")
    loop = made.graph.node[1]
    body = next(each.g for each in loop.attribute if each.name == "body")
    body.node.append(helper.make_node("Neg", ["o"], ["row"]))
    body.output.append(helper.make_empty_tensor_value_info("row"))
    loop.output.append("rows")
    made.graph.node.append(helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0))
    made.graph.node.append(helper.make_node("Add", ["sum", "z"], ["end"]))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "axes"))
    made.graph.output[0].name = "end"
    reference = open_onnx(save(tmp_path, made))
    gives_the_same(reference)
    assert (
        np.abs(reference.trace(make_batch({"x": X}, "m")).outputs[0].array - _by_onnxruntime(tmp_path, made)).max()
        < 1e-5
    )
