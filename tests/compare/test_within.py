"""``within``: where no kernel knows the last bits, every element lies inside an interval that a wrong weight leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sim.ops.test_few import spectrum
from written_models import Op, T, write_tflite

from quantdiff.cli import main
from quantdiff.compare.verdict import compare_operators
from quantdiff.compare.verification import load_and_verify
from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array
from quantdiff.sim.enclosures import WIDEST, joined, of_sum, of_value
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.graph.operators import enclose_operator
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

SHAPE = (1, 24)


def test_an_operator_without_outputs_has_nothing_to_hold() -> None:
    graph = Graph("", (Tensor(0, "x", (1, 4), "float32"),), (Operator(0, "CALL_ONCE", (), ()),), (0,), (0,))
    compared, _ = compare_operators(graph, {Runtime.REFERENCE: {0: np.zeros((1, 1, 4), np.float32)}})
    assert [each.op for each in compared[Runtime.REFERENCE].unsupported] == ["CALL_ONCE"]


def norm(scale: float = 1.0, size: int = SHAPE[1]) -> bytes:
    """The length of a vector, whose root XNNPACK refines from an estimate."""
    shape = (1, size)
    tensors = [
        T("x", shape, "float32"),
        T("w", shape, "float32", data=scale),
        T("v", shape, "float32"),
        T("s", shape, "float32"),
        T("axis", (1,), "int32", data=[1]),
        T("t", (1, 1), "float32"),
        T("y", (1, 1), "float32"),
    ]
    operators = [
        Op("MUL", ["x", "w"], ["v"], {"fusedActivationFunction": 0}),
        Op("MUL", ["v", "v"], ["s"], {"fusedActivationFunction": 0}),
        Op("SUM", ["s", "axis"], ["t"], {"keepDims": True}, "ReducerOptions"),
        Op("SQRT", ["t"], ["y"]),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


@pytest.mark.golden
def test_a_model_within_its_intervals(tmp_path: Path) -> None:
    path = tmp_path / "norm.tflite"
    path.write_bytes(norm())
    verdict = load_and_verify(path, ["xnnpack"], samples=50).verdicts["xnnpack"]
    assert (verdict.status, verdict.mismatches) == ("within", 0)
    widths = {o.op: o.width for o in verdict.operators}
    assert widths["MUL"] is widths["SUM"] is None
    assert 0 < (widths["SQRT"] or 0) <= WIDEST
    result = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["runtimes"].values()
    assert (found["status"], found["operators"][3]["within"]) == ("within", True)
    text = CliRunner().invoke(main, ["verify", str(path), "--samples", "2"]).output
    assert "of them against proven intervals, at most" in text


@pytest.mark.parametrize("op", ["SUM", "SQRT"])
def test_a_weight_changed_by_a_thousandth_falls_outside(op: str) -> None:
    """The values of one model in the intervals of another, whose weight is 1.001."""
    graph = read_model(memoryview(norm())).main
    operator = next(each for each in graph.operators if each.op == op)
    v = np.random.default_rng(0).normal(size=(50, *SHAPE)).astype(np.float32)
    total = (v * v).sum(axis=2, dtype=np.float64).astype(np.float32)[..., None]
    given = {"SUM": v * v, "SQRT": total}[op]
    right = {"SUM": total, "SQRT": np.sqrt(total)}[op]
    found = enclose_operator(graph, operator, {operator.inputs[0]: given}, Runtime.XNNPACK)
    assert (found.outside(right), found.outside(right * np.float32(1.001))) == (0, right.size)


@pytest.mark.parametrize("runtime", [Runtime.XNNPACK, Runtime.BUILTIN])
def test_the_inverse_root_of_a_thousandth_more_falls_outside(runtime: Runtime) -> None:
    tensors = [T("x", SHAPE, "float32"), T("y", SHAPE, "float32")]
    graph = read_model(memoryview(write_tflite(tensors, [Op("RSQRT", ["x"], ["y"])], ["x"], ["y"]))).main
    x = np.random.default_rng(0).uniform(1e-3, 9, (5, *SHAPE)).astype(np.float32)
    if runtime is Runtime.BUILTIN:  # whose bits are known
        with pytest.raises(NoKernel):
            enclose_operator(graph, graph.operators[0], {0: x}, runtime)
        return
    right = (1 / np.sqrt(x.astype(np.float64))).astype(np.float32)
    found = enclose_operator(graph, graph.operators[0], {0: x}, runtime)
    assert (found.outside(right), found.outside(right * np.float32(1.001))) == (0, right.size)


def test_an_interval_too_wide_proves_nothing() -> None:
    terms = np.ones((1, 2000), np.float32)
    with pytest.raises(NoKernel, match="prove nothing"):
        joined([of_sum(terms, (1,), 1.0, 1999)])


def in_order(x: Array) -> np.float32:
    total = np.float32(0)
    for value in x:
        total = np.float32(total + value)
    return total


@pytest.mark.parametrize("order", ["falling", "rising", "pairs"])
def test_any_order_is_inside(order: str) -> None:
    x = (np.random.default_rng(1).normal(size=28) * 2.0 ** np.arange(28)).astype(np.float32)
    found = of_sum(x[None], (1,), 1.0, x.size - 1)
    arranged = {"falling": x[::-1], "rising": x, "pairs": x.reshape(2, -1).T.reshape(-1)}[order]
    assert found.outside(np.asarray([in_order(arranged)])) == 0


def test_infinity_and_nan() -> None:
    found = of_value(np.asarray([np.inf, np.nan, 1.0]), 3)
    assert found.outside(np.asarray([np.inf, np.nan, np.nan], np.float32)) == 1


@pytest.mark.golden
def test_sums_on_a_processor_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its kernels the simulator still has an interval; this machine's runtime lies inside."""
    tensors = [T("x", (1, 3, 40), "float32"), T("a", (1,), "int32", data=[2]), T("y", (1, 3), "float32")]
    path = tmp_path / "sum.tflite"
    path.write_bytes(write_tflite(tensors, [Op("MEAN", ["x", "a"], ["y"], {}, "ReducerOptions")], ["x"], ["y"]))
    monkeypatch.setattr(xnnpack, "has_avx512", lambda: False)
    verdict = load_and_verify(path, ["xnnpack"], samples=50).verdicts["xnnpack"]
    assert (verdict.status, verdict.count, verdict.mismatches) == ("within", 150, 0)


def test_a_transform_of_other_values_falls_outside() -> None:
    graph = read_model(memoryview(spectrum(((3, 1, 400), (1, 512))))).main
    x = np.random.default_rng(0).normal(size=(1, 3, 1, 400)).astype(np.float32)
    found = enclose_operator(graph, graph.operators[0], {0: x}, Runtime.REFERENCE)
    right = np.fft.rfft2(x.astype(np.float64), (1, 512)).astype(np.complex64).view(np.float32)
    share = found.outside(right * np.float32(1.001)) / right.size
    assert (found.outside(right), found.width.shape) == (0, right.shape)
    assert share > 0.99
