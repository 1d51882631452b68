"""Lint a file that makes no sense: findings or nothing, never a crash or a NumPy warning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from linting.models_with_findings import CLIPPED, EACH, NONE, chain, conv, dense, q
from load.models_of_all_kinds import MODELS
from small_models import hangs
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.linting.lint import LintReport, lint_model
from quantdiff.linting.wiring import wirings
from quantdiff.load.tflite import read_model
from quantdiff.quant import QuantParams

ODD_SCALES = (0.0, -0.5, float("nan"), float("inf"), 1e-45, 3e38)
ODD_POINTS = (-(2**63), 2**63 - 1, 300)
NO_INPUTS: tuple[list[str | None], ...] = ([], [None], ["x"], [None, "x"], ["x", None, None])


def lint(data: bytes) -> LintReport:
    return lint_model(read_model(memoryview(data)))


def codes(data: bytes) -> set[str]:
    return {finding.code for finding in lint(data).findings}


@pytest.mark.parametrize("name", ["s_x", "s_w", "s_y", "b_scale"])
@pytest.mark.parametrize("value", ODD_SCALES)
def test_scales(name: str, value: float) -> None:
    sane = 0 < value < float("inf")
    assert ("SCALE01" in codes(dense(bias=9, **{"b_scale": 0.125, name: value}))) is not sane


def test_pairs_of_scales() -> None:
    for s_x, s_w in product(ODD_SCALES, ODD_SCALES):
        lint(dense(bias=9, s_x=s_x, s_w=[s_w, *EACH[1:]], b_scale=0.1))
        lint(write_tflite([q("a", s_x), q("c", s_w), q("y", s_x)], [Op("ADD", ["a", "c"], ["y"])], ["a"], ["y"]))


@pytest.mark.parametrize("point", ODD_POINTS)
@pytest.mark.parametrize("name", ["w_zero", "b_zero", "y_zero"])
def test_zero_points(name: str, point: int) -> None:
    found = codes(dense(CLIPPED, **{name: point}))
    assert ("ZERO01" in found) is (name != "b_zero" or point != 300)


def test_ops_without_tensors() -> None:
    ops = ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "CONCATENATION", "QUANTIZE", "DEQUANTIZE", "RELU")
    for op in (*ops, "MUL", "RESHAPE", "LEAKY_RELU", "SPLIT", "SLICE", "STRIDED_SLICE", "MEAN", "PAD", "SOFTMAX"):
        for inputs in NO_INPUTS:
            for outputs in ([], ["y"]):
                joined = Op("CONCATENATION", ["y"], ["z"], NONE)
                lint(write_tflite([q("x"), q("y"), q("z")], [Op(op, inputs, outputs), joined], ["x"], ["z"]))


def test_floats_with_a_scale() -> None:
    for op in ("ADD", "MUL", "CONCATENATION", "FULLY_CONNECTED"):
        lint(write_tflite([q("x"), q("z", 0.5, "float32"), q("y")], [Op(op, ["x", "z"], ["y"])], ["x", "z"], ["y"]))


def test_an_empty_graph() -> None:
    assert lint(write_tflite([], [], [], [])).findings == ()


def test_weights_that_do_not_fit_their_op() -> None:
    w = T("w", (4,), scale=0.5, data=[1, 2, 3, 4])
    for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        for bias in (
            T("b", (3,), "int32", 0.25, data=1),
            T("b", (2, 2), "float32", data=1),
            T("b", (0,), "int32", 1.0),
        ):
            lint(write_tflite([q("x"), w, bias, q("y")], [Op(op, ["x", "w", "b"], ["y"])], ["x"], ["y"]))


def test_packed_and_sparse_weights_and_every_kind_of_tensor() -> None:
    int4 = T("w", (4, 8), "int4", [0.5] * 4, raw=bytes(16))
    lint(write_tflite([q("x"), int4, q("y")], [Op("FULLY_CONNECTED", ["x", "w"], ["y"])], ["x"], ["y"]))
    for data in MODELS.values():
        lint(data)


def test_wrong_axis_of_scales() -> None:
    w = np.ones((4, 1, 1, 4), int)
    assert "RANGE01" in codes(conv("CONV_2D", w, EACH, 3))


def test_a_model_that_no_file_could_hold() -> None:
    quant = QuantParams((0.5, 0.25), (0,), None)
    tensors = tuple(Tensor(i, str(i), (2, 2), "int8", quant, data=np.ones((2, 2), np.int8)) for i in range(3))
    operators = (Operator(0, "FULLY_CONNECTED", (0, 1, 2), (0,)), Operator(1, "ADD", (0, 1), (-1,)))
    lint_model(Model((Graph("", tensors, operators, (-1,), (0,)),)))
    lint_model(Model((Graph("", (), (Operator(0, "ADD", (-1, -1), (-1,)),), (), ()),)))


def test_what_is_left_out_carries_nothing() -> None:
    tensors = tuple(Tensor(i, str(i), (1,), "int8") for i in range(3))
    operators = (Operator(0, "RELU", (0,), (-1,)), Operator(1, "FULLY_CONNECTED", (1, 1, -1), (2,)))
    (wiring,) = wirings(Model((Graph("", tensors, operators, (0, -1), (2,)),)))
    assert (wiring.varies(tensors[0]), wiring.varies(tensors[2])) == (True, False)


def test_a_layer_of_16_bits_without_its_input() -> None:
    model = read_model(memoryview(dense(dtype="int16", w_dtype="int8")))
    operators = (replace(model.main.operators[0], inputs=(-1, 1, 2)),)
    assert "BIAS04" not in {f.code for f in lint_model(with_operators(model, operators)).findings}


def test_a_loop_without_an_input() -> None:
    model = read_model(memoryview(hangs()))
    lint_model(with_operators(model, [replace(op, inputs=(-1, *op.inputs[1:])) for op in model.main.operators]))


def with_operators(model: Model, operators: Sequence[Operator]) -> Model:
    main = replace(model.main, operators=tuple(operators))
    return replace(model, subgraphs=(main, *model.subgraphs[1:]))


def test_operators_in_a_loop() -> None:
    operators = [Op("RELU", ["z"], ["x"]), Op("RESHAPE", ["x"], ["y"]), Op("RESHAPE", ["y"], ["z"])]
    operators.append(Op("RESHAPE", ["z"], ["y"]))
    lint(write_tflite([q("x"), q("y"), q("z")], operators, ["x"], ["y"]))
    floats = [T("a", (1,), "float32"), T("b", (1,), "float32")]
    lint(write_tflite(floats, [Op("ELU", ["a"], ["b"]), Op("ELU", ["b"], ["a"])], ["a"], ["b"]))


def test_names_that_are_long_or_joined() -> None:
    (finding,) = [f for f in lint(chain([("QUANTIZE", q("a" * 99 + ";b"))])).findings if f.code == "QUANT01"]
    assert finding.place.text == "operator 0 QUANTIZE …" + "a" * 59
