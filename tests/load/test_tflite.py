"""What ``load_tflite`` reads, against values written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.errors import BadModel
from quantdiff.graph import Model
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import QuantParams

CONV = write_tflite(
    [
        T("x", (1, 4, 4, 2), scale=0.5, zero_point=-3, stored_min=[-62.5], stored_max=[65.0]),
        T("w", (3, 1, 1, 2), scale=[0.25, 0.5, 1.0], data=[[[[1, -2]]], [[[3, 4]]], [[[-5, 127]]]]),
        T("b", (3,), "int32", scale=[0.125, 0.25, 0.5], data=[7, -8, 9]),
        T("y", (1, 4, 4, 3), scale=2.0),
    ],
    [
        Op(
            "CONV_2D",
            ["x", "w", "b"],
            ["y"],
            {"strideW": 2, "strideH": 1, "fusedActivationFunction": 1},
            version=3,
        )
    ],
    ["x"],
    ["y"],
)


def load(data: bytes, folder: Path) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return load_tflite(path)


def test_tensors(tmp_path: Path) -> None:
    x, w, b, y = load(CONV, tmp_path).main.tensors
    assert (x.name, x.shape, x.dtype, x.quant) == ("x", (1, 4, 4, 2), "int8", QuantParams((0.5,), (-3,)))
    assert (x.stored_min, x.stored_max, x.data, x.is_constant) == ((-62.5,), (65.0,), None, False)
    assert w.quant == QuantParams((0.25, 0.5, 1.0), (0, 0, 0), 0)
    assert w.data is not None
    assert w.data.tolist() == [[[[1, -2]]], [[[3, 4]]], [[[-5, 127]]]]
    assert b.data is not None
    assert b.data.dtype == np.int32
    assert (b.data.tolist(), b.buffer_size) == ([7, -8, 9], 12)
    assert (y.index, y.stored_min) == (3, ())


def test_operator(tmp_path: Path) -> None:
    (op,) = load(CONV, tmp_path).main.operators
    assert (op.op, op.inputs, op.outputs, op.version) == ("CONV_2D", (0, 1, 2), (3,), 3)
    assert op.options == {
        "padding": "SAME",
        "stride_w": 2,
        "stride_h": 1,
        "fused_activation_function": "RELU",
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "quantized_bias_type": "FLOAT32",
    }


def test_data_is_a_read_only_view(tmp_path: Path) -> None:
    data = load(CONV, tmp_path).main.tensors[1].data
    assert data is not None
    assert not data.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 0


@pytest.mark.parametrize("cut", range(0, len(CONV), 7))
def test_truncated(cut: int, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"model\.tflite: .*; "):
        load(CONV[:cut], tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="No such file"):
        load_tflite(tmp_path / "none.tflite")
