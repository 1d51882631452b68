"""A network with batch norm beside the int8 files that onnx2tf made of it, and the report that it wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import N, model, save

from quantdiff import api
from quantdiff.align.choice import MENTIONED, SAME, labels_of
from quantdiff.errors import BadModel
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.recording import Flow, FlowValue, tflite_flow
from quantdiff.references.onnx.reference import open_onnx

FILES = Path(__file__).parents[2] / "onnx2tf_files"
HOW = api.Settings(runtimes=("reference",))
INT8 = ("net_full_integer_quant.tflite", "net_integer_quant.tflite")


@pytest.mark.golden
@pytest.mark.parametrize("name", INT8)
def test_the_account_closes_and_every_value_has_its_partner(name: str) -> None:
    (explanation,) = api.explain(FILES / "net.onnx", FILES / name, FILES / "data.npz", HOW).found
    assert (explanation.closed_reference, explanation.closed_candidate, explanation.unexplained) == (True, True, 0)
    assert explanation.differing > 0
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
    (report,) = api.diff(FILES / "net.onnx", FILES / name, FILES / "data.npz", HOW, layers=True).layers
    assert report.only_reference == report.only_candidate == ()
    assert [row.reference for row in report.layers] == [
        "image", "/stem/act/Relu", "/pool/MaxPool", "/body/conv/Conv", "/body/Add", "/body/act/Relu", "/Reshape",
        "/fc/Gemm",
    ]  # fmt: skip
    orders = {row.reference: row.order for row in report.layers}
    assert orders["/body/Add"] == (1, 2, 0)
    assert orders["/body/act/Relu"] == ()  # the file has a TRANSPOSE in front of it: channels first on both sides


@pytest.mark.golden
@pytest.mark.parametrize("name", ["net_qdq_float32.tflite", INT8[0]])
def test_own_grids_are_found_on_whichever_side_of_a_turn_they_stand(name: str) -> None:
    """The file has its TRANSPOSE before or behind the quantizers, the reference behind or before."""
    (explanation,) = api.explain(FILES / "net_qdq.onnx", FILES / name, FILES / "data.npz", HOW).found
    assert (explanation.closed_reference, explanation.closed_candidate, explanation.unexplained) == (True, True, 0)
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
    assert not explanation.departs


def test_operators_on_integers_are_told(tmp_path: Path) -> None:
    steps: dict[str, Array] = {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)}
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"]),
        N("QLinearAdd", ["q", "s", "z", "q", "s", "z", "s", "z"], ["r"], domain="com.microsoft"),
        N("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    made = model(nodes, {"x": ("n", 4)}, ["y"], steps)
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    reference = open_onnx(save(tmp_path, made))
    assert reference.kind == "qat"
    with pytest.raises(BadModel, match=r"QLinearAdd '/r/QLinearAdd' rounds inside \(QOperator format\)"):
        reference.layers()


def test_the_report_says_what_a_tensor_was_before_it_was_renamed() -> None:
    called = load_tflite(FILES / INT8[0]).called
    assert called["wa/pool/MaxPool_input_nhwc"].endswith("/stem/act/Relu")
    flow = tflite_flow(load_tflite(FILES / INT8[0]), "tflite")
    (stem,) = (place for place in flow.places if place.name == "wa/pool/MaxPool_input_nhwc")
    ours = [FlowValue(0, "/stem/act/Relu", "RELU"), FlowValue(1, "/pool/MaxPool", "MAX_POOL_2D")]
    labels = labels_of(Flow("float", tuple(ours), (), ()), flow)
    relu, pool = (labels.score(place, stem) for place in ours)
    assert relu >= SAME
    assert pool < MENTIONED


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"records": [{}]}', b'{"records": 3}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_report_that_is_none_is_no_hint(tmp_path: Path, content: bytes) -> None:
    shutil.copy(FILES / INT8[0], tmp_path)
    (tmp_path / "net_tensor_correspondence_report.json").write_bytes(content)
    assert load_tflite(tmp_path / INT8[0]).called == {}
