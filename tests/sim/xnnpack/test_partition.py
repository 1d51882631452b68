"""The delegate's rules, held against what the interpreter reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models as models
from written_models import Op, Sub, T, model_object, pack, write_tflite

from quantdiff.load.tflite import load_tflite
from quantdiff.run.child import RuntimeProcess
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


def mediapipe() -> bytes:
    """A pool that says where its values were, back to there, and a transposed convolution of unpacked weights."""
    image = (1, 4, 4, 8)
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
