"""What ``inspect`` tells: ranges, filter, text and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from load.models_of_all_kinds import CONV, KINDS, MODELS

from quantdiff.cli import main
from quantdiff.errors import NoSuchTensor
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.inspection import inspect_model, is_symmetric_weight
from quantdiff.quant import QuantParams
from quantdiff.report.json.files import inspection_json
from quantdiff.report.json.text import json_text
from quantdiff.report.text.files import inspection_text
from quantdiff.report.text.terminal import printable

CONV_TEXT = """\
MODEL: TFLite version 3
description: written by a test

subgraph 0: main
0  x  int8[1, 4, 4, 2]  input
     -62.5 ≤ 0.5 * (q + 3) ≤ 65   computed -62.5 … 65
1  w  int8[3, 1, 1, 2]  6 bytes  axis 0
     0: 0.25 * q   computed -31.75 … 31.75
     1: 0.5 * q    computed -63.5 … 63.5
     2: q          computed -127 … 127
2  b  int32[3]  12 bytes  axis 0
     0: 0.125 * q   computed -268435456 … 268435455.875
     1: 0.25 * q    computed -536870912 … 536870911.75
     2: 0.5 * q     computed -1073741824 … 1073741823.5
3  y  int8[1, 4, 4, 3]  output
     2 * q   computed -256 … 254
operators
0  CONV_2D  0, 1, 2 → 3  padding=SAME, stride_w=2, stride_h=1, fused_activation_function=RELU, \
dilation_w_factor=1, dilation_h_factor=1, quantized_bias_type=FLOAT32"""


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    path = tmp_path / "conv.tflite"
    path.write_bytes(CONV)
    return path


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    path = tmp_path / "kinds.tflite"
    path.write_bytes(KINDS)
    return path


def test_text(conv: Path) -> None:
    text = inspection_text(inspect_model(load_tflite(conv)))
    assert text == CONV_TEXT.replace("MODEL", str(conv))


def test_json(conv: Path) -> None:
    document = json.loads(json_text(inspection_json(inspect_model(load_tflite(conv)))))
    assert document["tensors"][1] == {
        "index": 1,
        "name": "w",
        "shape": [3, 1, 1, 2],
        "shape_signature": None,
        "dtype": "int8",
        "scale": [0.25, 0.5, 1.0],
        "zero_point": [0, 0, 0],
        "axis": 0,
        "min": [-31.75, -63.5, -127.0],
        "max": [31.75, 63.5, 127.0],
        "stored_min": [],
        "stored_max": [],
        "quantization": "0: 0.25 * q\n1: 0.5 * q\n2: q",
        "constant": True,
        "variable": False,
        "buffer": 1,
        "buffer_size": 6,
        "blocks": None,
        "sparsity": None,
    }
    operator = document["operators"][0]
    assert (operator["op"], operator["inputs"], operator["outputs"]) == ("CONV_2D", [0, 1, 2], [3])
    assert operator["fused_activation"] == "RELU"
    assert (document["inputs"], document["outputs"]) == ([0], [3])


NARROW = [  # dtype, zero point, constant, range in steps of 1
    ("int8", 0, True, (-127, 127)),
    ("int8", 0, False, (-128, 127)),
    ("int8", 1, True, (-129, 126)),
    ("uint8", 128, True, (-128, 127)),
    ("int4", 0, True, (-7, 7)),
    ("int4", 0, False, (-8, 7)),
    ("int2", 0, True, (-1, 1)),
    ("int16", 0, False, (-32768, 32767)),
    ("int32", 0, True, (-(2**31), 2**31 - 1)),
]


@pytest.mark.parametrize(("dtype", "zero_point", "constant", "limits"), NARROW)
def test_range(dtype: str, zero_point: int, constant: bool, limits: tuple[int, int]) -> None:
    data = np.zeros(1, np.int8) if constant else None
    tensor = Tensor(0, "t", (1,), dtype, QuantParams((1.0,), (zero_point,)), data=data)
    (ranged,) = inspect_model(Model((Graph("g", (tensor,), (), (), ()),))).graphs[0].tensors
    assert (*ranged.min, *ranged.max) == limits
    assert is_symmetric_weight(tensor) == (limits[0] == -limits[1])


@pytest.mark.parametrize("pattern", ["two bits", "wo b", "two*", "5"])
def test_pattern(pattern: str, kinds: Path) -> None:
    inspection = inspect_model(load_tflite(kinds), pattern)
    assert [each.tensor.name for graph in inspection.graphs for each in graph.tensors] == ["two bits"]
    assert "\nsubgraph 1:" not in inspection_text(inspection)


def test_pattern_that_names_nothing(kinds: Path) -> None:
    with pytest.raises(NoSuchTensor, match="'nothing like it'"):
        inspect_model(load_tflite(kinds), "nothing like it")


def test_many_channels_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "ops.tflite"
    path.write_bytes(MODELS["ops"])
    model = load_tflite(path)
    assert "… 4 more: --tensor 0 shows all" in inspection_text(inspect_model(model))
    assert "more:" not in inspection_text(inspect_model(model, "0"))


def test_names_cannot_move_the_cursor(kinds: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(kinds)])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert r"[red]\x1b[31m\u202e" in result.output
    assert "signature serve: x = 0 → y = 9 (subgraph 0)" in result.output
    assert "metadata min_runtime_version: 8 bytes" in result.output
    assert "blocks of 4: scales in tensor 1, zero points in 2" in result.output


def test_command_gives_json(kinds: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", "--json", "--tensor", "[red]", str(kinds)])
    document = json.loads(result.stdout)
    assert [tensor["name"] for tensor in document["tensors"]] == ["[red]\x1b[31m\u202e"]
    assert [op["op"] for op in document["operators"]] == ["CUSTOM:MyOp"]
    assert document["subgraphs"][0]["tensors"] == []


def test_numbers_that_json_has_not() -> None:
    text = json_text({"a": [float("nan"), 1.5], "b": {"c": float("-inf")}})
    assert json.loads(text) == {"a": ["NaN", 1.5], "b": {"c": "-Infinity"}}


def test_printable() -> None:
    assert printable("größe\n\x07") == "größe\\n\\x07"
