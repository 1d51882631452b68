"""The delegate's rules, held against what the interpreter reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models as models
from written_models import Op, Sub, T, model_object, pack, write_tflite

from quantdiff.errors import RuntimeFailed
from quantdiff.load.tflite import load_tflite
from quantdiff.run.runner import RuntimeProcess
from quantdiff.sim.node import node_of
from quantdiff.sim.xnnpack import delegate

pytestmark = pytest.mark.golden


def between() -> bytes:
    """ADD, AVERAGE_POOL_2D (which XNNPACK declines in int8), RESHAPE, SOFTMAX (declined): two parts."""
    shape = (1, 2, 2, 4)
    tensors = [
        T("x", shape, scale=0.5),
        T("sum", shape, scale=1.0),
        T("pool", (1, 1, 1, 4), scale=1.0),
        T("to", (2,), "int32", data=[1, 4]),
        T("flat", (1, 4), scale=1.0),
        T("soft", (1, 4), scale=1 / 256, zero_point=-128),
    ]
    pool = {"strideW": 1, "strideH": 1, "filterWidth": 2, "filterHeight": 2, "padding": 1}
    operators = [
        Op("ADD", ["x", "x"], ["sum"], {"fusedActivationFunction": 0}),
        Op("AVERAGE_POOL_2D", ["sum"], ["pool"], pool, version=2),
        Op("RESHAPE", ["pool", "to"], ["flat"]),
        Op("SOFTMAX", ["flat"], ["soft"], {"beta": 1.0}, version=2),
    ]
    return write_tflite(tensors, operators, ["x"], ["soft"])


def custom(name: str, inputs: list[str], outputs: list[str], *fields: int) -> Op:
    """One of MediaPipe's operators, its options a struct of C."""
    return Op(name, inputs, outputs, custom=True, custom_options=np.asarray(fields, "<i4").tobytes())


def mediapipe(image: tuple[int, ...] = (1, 4, 4, 8)) -> bytes:
    """A pool that says where its values were, back to there, and a transposed convolution of unpacked weights."""
    tensors = [
        *(T(name, image, "float32") for name in ("x", "back", "y")),
        T("most", (1, 2, 2, 8), "float32"),
        T("where", (1, 2, 2, 8), "float32"),
        T("w16", (8, 2, 2, 8), "float16", data=np.ones((8, 2, 2, 8))),
        T("w", (8, 2, 2, 8), "float32"),
        T("b", (8,), "float32", data=np.ones(8)),
    ]
    pool = (2, 2, 2, 2, 2, 0)
    operators = [
        custom("MaxPoolingWithArgmax2D", ["x"], ["most", "where"], *pool),
        custom("MaxUnpooling2D", ["most", "where"], ["back"], *pool),
        Op("DEQUANTIZE", ["w16"], ["w"]),
        custom("Convolution2DTransposeBias", ["most", "w", "b"], ["y"], 1, 2, 2),
    ]
    return write_tflite(tensors, operators, ["x"], ["back", "y"])


@pytest.mark.parametrize("content", [between(), models.dense(), models.split(), models.fixed_reshape(), mediapipe()])
def test_the_rules_draw_the_line_that_the_interpreter_reports(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save(tmp_path, content)
    graph = load_tflite(path).main
    with RuntimeProcess("xnnpack") as process:
        process.load(path)
    assert process.delegated
    assert delegate.agrees(graph, process.delegated)
    for wrong in (False, True):  # a rule that is off for one op shows
        for op in graph.operators:
            real = delegate.taken(node_of(graph, op))
            if real is wrong:
                continue
            monkeypatch.setattr(
                delegate,
                "taken",
                lambda node, op=op, wrong=wrong, rule=delegate.taken: (
                    wrong if node.operator.index == op.index else rule(node)
                ),
            )
            assert not delegate.agrees(graph, process.delegated)
            monkeypatch.undo()


def test_a_reshape_to_a_scalar_stays(tmp_path: Path) -> None:
    tensors = [
        T("x", (1, 1), "float32"),
        T("two", (), "float32", data=2.0),
        T("product", (1, 1), "float32"),
        T("nothing", (0,), "int32", raw=b""),
        T("scalar", (), "float32"),
    ]
    operators = [
        Op("MUL", ["x", "two"], ["product"], {"fusedActivationFunction": 0}),
        Op("RESHAPE", ["product", "nothing"], ["scalar"]),
    ]
    model = model_object([Sub(tensors, operators, ["x"], ["scalar"])])
    model.buffers[-1].data = None  # as converters write an empty shape: the runtime sees no constant there
    path = models.save(tmp_path, pack(model))
    with RuntimeProcess("xnnpack") as process:
        process.load(path)
    assert delegate.agrees(load_tflite(path).main, process.delegated)


def test_of_mediapipes_operators_none_is_taken_without_a_shape(tmp_path: Path) -> None:
    """No other kernel computes them, so that the file does not start; XNNPACK says of each why it is not its own."""
    path = models.save(tmp_path, mediapipe(()))
    graph = load_tflite(path).main
    assert not delegate.operators_taken(graph)
    with RuntimeProcess("xnnpack") as process, pytest.raises(RuntimeFailed) as refused:
        process.load(path)
    for node in (0, 1, 3):
        assert f"in CUSTOM node #{node}: 4 dimensions expected" in str(refused.value)


IMAGE = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


@pytest.mark.parametrize("shape", [(), (1, 4, 4, 3)])
@pytest.mark.parametrize(
    ("op", "options", "constants"),
    [
        ("CONV_2D", IMAGE, ["w", "b"]),
        ("CONV_2D", IMAGE, ["narrow", "b"]),
        ("DEPTHWISE_CONV_2D", {**IMAGE, "depthMultiplier": 1}, ["d", "b"]),
        ("RESIZE_BILINEAR", {}, ["size"]),
        ("PAD", {}, ["none"]),
        ("TRANSPOSE", {}, ["order"]),
    ],
)
def test_what_the_file_gives_no_shape_is_not_taken(
    tmp_path: Path, op: str, options: dict[str, int], constants: list[str], shape: tuple[int, ...]
) -> None:
    """As old converters leave what hangs on a shape that is computed: the delegate looks before anybody has told it."""
    kernel = np.eye(3).reshape(3, 1, 1, 3)
    stored = {
        "w": T("w", kernel.shape, "float32", data=kernel),
        "narrow": T("narrow", kernel.shape, "int8", np.full(3, 0.1, np.float32), [0] * 3, 0, data=kernel),
        "d": T("d", (1, 1, 1, 3), "float32", data=1.0),
        "b": T("b", (3,), "float32", data=0.0),
        "size": T("size", (2,), "int32", data=(4, 4)),
        "none": T("none", (4, 2), "int32", data=0),
        "order": T("order", (4,), "int32", data=(0, 1, 2, 3)),
    }
    tensors = [T("x", (1, 4, 4, 3), "float32"), *(T(name, shape, "float32") for name in ("h", "y"))]
    tensors += [stored[name] for name in constants]
    operators = [Op("RELU", ["x"], ["h"]), Op(op, ["h", *constants], ["y"], options)]
    path = models.save(tmp_path, write_tflite(tensors, operators, ["x"], ["y"]))
    with RuntimeProcess("xnnpack") as process:
        process.load(path)
    graph = load_tflite(path).main
    assert delegate.agrees(graph, process.delegated)
    assert len(delegate.operators_taken(graph)) == 1 + bool(shape)
