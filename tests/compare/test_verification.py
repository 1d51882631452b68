"""``verify``: exact where the simulator is, and loud where it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from written_models import Op, T, write_tflite

from quantdiff.cli import main
from quantdiff.compare.verdict import tally
from quantdiff.compare.verification import load_and_verify
from quantdiff.graph import Graph, Operator
from quantdiff.quant import Array, differing
from quantdiff.sim.graph import chains
from quantdiff.sim.graph.operators import run_operator_on_each
from quantdiff.sim.runtime import Runtime

Values = Mapping[int, Array]
Outcomes = dict[Runtime, tuple[Array, ...]]
pytestmark = pytest.mark.golden
SHAPE = (1, 5, 5, 3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tensors = [
        T("x", SHAPE, scale=0.5, zero_point=3),
        T("w", (4, 3, 3, 3), scale=0.01, data=np.random.default_rng(0).integers(-127, 127, (4, 3, 3, 3))),
        T("b", (4,), "int32", scale=0.005, data=[1, 2, 3, 4]),
        T("m", (1, 5, 5, 4), scale=0.7, zero_point=-5),
        T("y", (1, 5, 5, 4), scale=1 / 256, zero_point=-128),
    ]
    operators = [
        Op("CONV_2D", ["x", "w", "b"], ["m"], {"strideH": 1, "strideW": 1}),
        Op("SOFTMAX", ["m"], ["y"], {"beta": 1.0}),
    ]
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["y"]))
    return path


def test_every_tensor_of_every_runtime(model: Path) -> None:
    found = load_and_verify(model, ["all"], samples=5)
    verdicts, made_by = found.verdicts, found.made_by
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        r.value: "exact" for r in Runtime.XNNPACK.neighbours
    }
    verdict = verdicts["xnnpack"]
    assert [(o.op, o.kernel, o.count) for o in verdict.operators] == [
        ("CONV_2D", "xnnpack", 500),
        ("SOFTMAX", "builtin", 500),
    ]
    assert (verdict.count, verdict.mismatches, verdict.chain_count, verdict.faithful) == (1000, 0, 500, True)
    assert made_by["samples"] == 5


def test_a_shape_that_the_file_leaves_open(tmp_path: Path) -> None:
    """LiteRT gives the tensor its shape while it runs; the file says rank 0."""
    tensors = [T("x", (1, 6), scale=0.5, zero_point=3), T("y", (), scale=0.5, zero_point=3)]
    path = tmp_path / "open.tflite"
    path.write_bytes(write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    verdicts = load_and_verify(path, ["reference", "builtin"], samples=5).verdicts
    assert [(v.status, v.count, v.mismatches) for v in verdicts.values()] == [("exact", 30, 0)] * 2


def test_a_wrong_kernel_is_seen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(*arguments: object) -> Outcomes:
        outputs = honest(*arguments)  # type: ignore[arg-type]
        return {runtime: tuple(y ^ 1 for y in given) for runtime, given in outputs.items()}

    honest = run_operator_on_each
    monkeypatch.setattr(chains, "run_operator_on_each", off_by_one)
    verdicts = load_and_verify(model, ["reference"], samples=2).verdicts
    assert verdicts["reference"].status == "differs"
    assert verdicts["reference"].mismatches == 400


def test_a_chain_goes_on_from_its_own_results(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first operator is wrong: the second, on the runtime's input, is not; the chain must show it."""

    def first_is_wrong(graph: Graph, operator: Operator, *rest: object) -> Outcomes:
        outputs = run_operator_on_each(graph, operator, *rest)  # type: ignore[arg-type]
        return outputs if operator.index else {runtime: (y[0] ^ 64,) for runtime, y in outputs.items()}

    monkeypatch.setattr(chains, "run_operator_on_each", first_is_wrong)
    verdicts = load_and_verify(model, ["all"], samples=2).verdicts
    for verdict in verdicts.values():
        assert [operator.mismatches for operator in verdict.operators] == [200, 0]
        assert verdict.chain_mismatches > 0


def test_nothing_is_computed_twice(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One input for all runtimes; then ``reference`` and ``tflm`` still hold the same; the chains know it all."""
    calls: list[tuple[int, tuple[Runtime, ...]]] = []

    def counted(graph: Graph, operator: Operator, values: Values, group: tuple[Runtime, ...]) -> Outcomes:
        calls.append((operator.index, group))
        return run_operator_on_each(graph, operator, values, group)

    monkeypatch.setattr(chains, "run_operator_on_each", counted)
    verdicts = load_and_verify(model, ["all"], samples=64).verdicts
    assert {verdict.status for verdict in verdicts.values()} == {"exact"}
    x, b, r, t = Runtime.XNNPACK.neighbours
    assert calls == [(0, (x, b, r, t)), (1, (x,)), (1, (b,)), (1, (r, t))]


def test_the_command_line(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(0, 30, (3, *SHAPE[1:])))
    runner = CliRunner()
    result = runner.invoke(main, ["verify", str(model), "--json", "--data", str(tmp_path / "data.npz")])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["samples"] == 3
    found = document["runtimes"]["xnnpack"]
    assert (found["status"], found["count"], found["mismatches"], found["unsupported"]) == ("exact", 600, 0, [])
    assert found["operators"][0] == {"index": 0, "op": "CONV_2D", "kernel": "xnnpack", "count": 300, "mismatches": 0}
    text = runner.invoke(main, ["verify", str(model), "--samples", "2", "--runtime", "reference"])
    assert text.exit_code == 0
    assert "0 of 400 elements differ" in text.output


def test_what_cannot_be_simulated_or_run_is_said(tmp_path: Path) -> None:
    shape = (1, 4)
    path = tmp_path / "custom.tflite"
    tensors = [T("x", shape, scale=0.5), T("y", shape, scale=0.5)]
    path.write_bytes(write_tflite(tensors, [Op("FancyNorm", ["x"], ["y"], custom=True)], ["x"], ["y"]))
    result = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["runtimes"]["xnnpack"]["status"] == "unavailable"


def test_differing_counts_bits() -> None:
    zero, nan = np.asarray([0.0, np.nan], np.float32), np.asarray([-0.0, np.nan], np.float32)
    assert differing(zero, nan) == 1
    assert differing(np.zeros(3, np.int8), np.zeros(3, np.int8)) == 0
    assert differing(np.zeros(3, np.int8), np.zeros(4, np.int8)) == 4


@pytest.mark.parametrize("stored", [(1,), (1, 1), ()])
def test_a_false_shape_is_no_difference(tmp_path: Path, stored: tuple[int, ...]) -> None:
    """LiteRT gives ARG_MAX one axis less, whatever the file says; TFLM believes the file, of as many elements."""
    tensors = [T("x", (1, 6), scale=0.5), T("axis", (1,), "int32", data=1), T("y", stored, "int32")]
    path = tmp_path / "stored.tflite"
    path.write_bytes(write_tflite(tensors, [Op("ARG_MAX", ["x", "axis"], ["y"], {"outputType": 2})], ["x"], ["y"]))
    verdicts = load_and_verify(path, ["all"], samples=5).verdicts
    assert [(v.status, v.count, v.mismatches) for v in verdicts.values()] == [("exact", 5, 0)] * 4


def test_a_constant_stored_without_its_shape(tmp_path: Path) -> None:
    """A constant of [2, 8] behind QUANTIZE, stored as if it were one number: TFLM would compute on other memory."""
    tensors = [
        T("x", (1, 8), "float32"),
        T("c", (2, 8), "float32", data=np.arange(16).reshape(2, 8)),
        T("q", (), "int8", scale=0.5),
        T("y", (2, 8), "float32"),
        T("z", (2, 8), "float32"),
    ]
    operators = [Op("QUANTIZE", ["c"], ["q"]), Op("DEQUANTIZE", ["q"], ["y"]), Op("ADD", ["x", "y"], ["z"])]
    path = tmp_path / "unranked.tflite"
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["z"]))
    verdicts = load_and_verify(path, ["all"], samples=5).verdicts
    assert [v.status for v in verdicts.values()] == ["exact", "exact", "exact", "unsupported"]
    assert verdicts["tflm"].why.startswith("operator 0 QUANTIZE: the file stores the shape [] for what has [2, 8]")


def test_no_more_mismatches_than_elements() -> None:
    mine, theirs = np.zeros((3, 1), np.int8), np.ones((3,), np.int8)
    assert tally([(mine, theirs)]) == (3, 3)
    assert tally([(np.zeros((1, 9), np.int8), np.zeros((4, 1), np.int8))]) == (4, 4)


def test_text_cannot_be_fed(tmp_path: Path) -> None:
    path = tmp_path / "text.tflite"
    tensors = [T("words", (1,), "string"), T("y", (1,), "string")]
    path.write_bytes(write_tflite(tensors, [Op("RESHAPE", ["words"], ["y"])], ["words"], ["y"]))
    result = CliRunner().invoke(main, ["verify", str(path)])
    assert result.exit_code == 2
    assert "input 'words' is string" in result.output
    assert "unexpected" not in result.output


def test_a_state_that_a_runtime_damages_is_told(tmp_path: Path) -> None:
    """LiteRT writes 16 bits of state where the file keeps 8; what it gives, or that it ends, is chance."""
    tensors = [
        T("x", (1, 4), scale=0.5),
        T("f", (2, 4), scale=0.1, data=1),
        T("t", (2, 3), scale=0.1, data=1),
        T("s", (1, 6), "int8", scale=0.1, is_variable=True),
        T("y", (1, 2), scale=0.5),
    ]
    options = {"rank": 1, "fusedActivationFunction": 0}
    path = tmp_path / "svdf.tflite"
    path.write_bytes(
        write_tflite(tensors, [Op("SVDF", ["x", "f", "t", None, "s"], ["y"], options, "SVDFOptions")], ["x"], ["y"])
    )
    verdict = load_and_verify(path, ["reference"], samples=2).verdicts["reference"]
    assert verdict.status in ("unsupported", "unavailable")


def test_an_output_without_elements_is_read(tmp_path: Path) -> None:
    """WHERE finds nothing; the interpreter has no view of that, which is no failure."""
    tensors = [
        T("x", (1, 4), "int32"),
        T("z", (1,), "int32", data=9),
        T("b", (1, 4), "bool"),
        T("y", (0, 2), "int64", shape_signature=(-1, 2)),
    ]
    operators = [Op("EQUAL", ["x", "z"], ["b"]), Op("WHERE", ["b"], ["y"])]
    path = tmp_path / "nothing.tflite"
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["b"]))
    verdict = load_and_verify(path, ["reference"], samples=3).verdicts["reference"]
    assert [(o.op, o.count) for o in verdict.operators] == [("EQUAL", 12), ("WHERE", 0)]
    assert verdict.status == "exact"


def test_a_model_without_operators_is_its_outputs(tmp_path: Path) -> None:
    path = tmp_path / "swapped.tflite"
    path.write_bytes(write_tflite([T("a", (1, 2), "float32"), T("b", (1, 2), "float32")], [], ["a", "b"], ["b", "a"]))
    (verdict,) = load_and_verify(path, ["reference"], samples=3).verdicts.values()
    assert (verdict.status, verdict.count, verdict.chain_count) == ("exact", 0, 12)


@pytest.mark.golden
def test_it_tells_how_far_it_is(model: Path) -> None:
    seen = list[tuple[str, int, int]]()
    found = load_and_verify(model, ["reference"], samples=2, progress=lambda *said: seen.append(said))
    count = len(found.verdicts["reference"].operators)
    assert seen == [("operators", i, count) for i in range(count)]
