"""The main job on real digits: every model of the original experiment, on all four runtimes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Runs

from quantdiff import api
from quantdiff.compare.comparison import Comparison
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.trial import Trial
from quantdiff.experiment.zoo import convert
from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import describe, load_keras, trace_keras
from quantdiff.references.keras.reference import converter_of
from quantdiff.run.runtimes import RUNTIMES

pytestmark = [pytest.mark.keras, pytest.mark.golden]

ALL = api.Settings(runtimes=tuple(RUNTIMES))


def find(outcome: Outcome, reference: str, candidate: str) -> Comparison:
    return next(c for c in outcome.comparisons if (c.reference, c.candidate) == (reference, candidate))


@pytest.mark.parametrize("model", ["CNN", "dense1", "dense2", "dense3", "dense4"])
def test_qat_against_tflite_on_all_runtimes(runs: Runs, model: str) -> None:
    outcome, _ = runs(model)
    assert not outcome.failures
    assert list(outcome.accuracy) == ["float", "qat", *(f"tflite:{runtime}" for runtime in RUNTIMES)]
    assert min(outcome.accuracy.values()) > 0.5
    pairs = [(c.reference, c.candidate) for c in outcome.comparisons]
    assert pairs[0] == ("float", "qat")
    assert pairs[1:] == [(side, f"tflite:{runtime}") for side in ("float", "qat") for runtime in RUNTIMES]
    for runtime in RUNTIMES:
        figures = find(outcome, "qat", f"tflite:{runtime}").figures
        assert figures.count == 20_000
        assert figures.differing is not None
        assert figures.differing / figures.count < 0.1  # a wrong input scale or zero point differs everywhere
        assert figures.top1_agreement is not None
        assert figures.top1_agreement > 0.99


def test_an_output_that_differs_differs_by_a_step_at_least(runs: Runs) -> None:
    outcome, _ = runs("dense4")
    figures = find(outcome, "qat", "tflite:reference").figures
    assert figures.max_steps is not None
    assert figures.step is not None
    assert figures.differing == round(figures.not_close * figures.count)  # a step is larger than the tolerance here
    assert figures.max_abs_error == pytest.approx(figures.max_steps * figures.step, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "quantize", "bias"), [("dense2", True, True), ("CNN", True, True), ("dense2", False, False)]
)
def test_diff_of_the_saved_models_gives_the_numbers_of_the_run(
    runs: Runs, model: str, quantize: bool, bias: bool
) -> None:
    outcome, out = runs(model, quantize, bias)
    working = api.Settings(
        runtimes=tuple(c.candidate.split(":")[1] for c in outcome.comparisons if c.reference == "qat")
    )
    for name, file in (("float", "float.keras"), ("qat", "qat.h5")):
        again = api.diff(out / file, out / "model.tflite", out / "data.npz", working)
        for comparison in again.comparisons:
            assert comparison == find(outcome, name, comparison.candidate)
        assert again.accuracy == {k: v for k, v in outcome.accuracy.items() if k == name or ":" in k}


def test_without_quantize_the_file_is_int8_inside_and_float_at_both_ends(runs: Runs) -> None:
    outcome, out = runs("dense2", quantize=False, bias=False)
    graph = load_tflite(out / "model.tflite").main
    assert [graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)] == ["float32", "float32"]
    assert [op.op for op in graph.operators] == [
        "QUANTIZE",
        "RESHAPE",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "DEQUANTIZE",
    ]
    figures = find(outcome, "qat", "tflite:reference").figures
    scale = graph.tensors[graph.operators[-1].inputs[0]].quant
    assert scale is not None
    assert figures.step == scale.scale[0]
    assert figures.differing is not None


def test_dynamic_range_has_no_steps_and_tflm_refuses_it(runs: Runs, tmp_path: Path) -> None:
    _, out = runs("dense2", quantize=False, bias=False)
    (tmp_path / "dynamic.tflite").write_bytes(convert(load_keras(out / "float.keras").model, None))
    outcome = api.diff(out / "float.keras", tmp_path / "dynamic.tflite", out / "data.npz", ALL)
    assert [failure.runtime for failure in outcome.failures] == ["tflm"]
    assert "tflm on dynamic.tflite failed" in outcome.failures[0].error
    figures = find(outcome, "float", "tflite:xnnpack").figures
    assert (figures.differing, figures.max_steps, figures.step) == (None, None, None)
    assert figures.top1_agreement is not None
    assert 0 < figures.max_abs_error < 1


def test_the_folder_holds_all_that_was_made(runs: Runs) -> None:
    outcome, out = runs("dense2")
    files = {"float.keras", "qat.h5", "model.tflite", "data.npz", "results.json", "summary.csv"}
    assert {file.name for file in out.iterdir()} == files
    results = json.loads((out / "results.json").read_text())
    assert results["accuracy"] == dict(outcome.accuracy)
    assert results["versions"]["tensorflow"]
    assert [c["differing"] for c in results["comparisons"]] == [c.figures.differing for c in outcome.comparisons]
    with (out / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(outcome.comparisons)
    assert [float(row["max_abs_error"]) for row in rows] == [c.figures.max_abs_error for c in outcome.comparisons]


def test_the_same_seed_gives_the_same_numbers(runs: Runs, tmp_path: Path) -> None:
    outcome, out = runs("dense2")
    again = api.run(Trial(model="dense2", quantize=True), tmp_path / "again", ALL)
    assert again.comparisons == outcome.comparisons
    assert again.accuracy == outcome.accuracy
    assert (tmp_path / "again" / "model.tflite").read_bytes() == (out / "model.tflite").read_bytes()
    other = api.run(Trial(model="dense2", quantize=True, seed=4), tmp_path / "again", api.DEFAULTS)
    assert other.comparisons[0] != outcome.comparisons[0]
    assert len((tmp_path / "again" / "summary.csv").read_text().splitlines()) == 1 + len(again.comparisons) + 3


def test_no_bias_leaves_the_biases_out(runs: Runs) -> None:
    _, out = runs("dense2", quantize=False, bias=False)
    assert not any("bias" in v.name for v in load_keras(out / "float.keras").model.weights)


@pytest.mark.parametrize("file", ["qat.keras", "qat.h5", "qat_saved_model"])
def test_qat_models_are_read_in_every_format(runs: Runs, tmp_path: Path, file: str) -> None:
    _, out = runs("CNN")
    qat = load_keras(out / "qat.h5")
    assert qat.kind == "qat"
    with quiet():
        qat.model.save(tmp_path / file)
    batch = make_batch({"x": np.load(out / "data.npz")["x"][:200]}, "digits")
    read = load_keras(tmp_path / file)
    assert (read.kind, read.outputs) == ("qat", qat.outputs)
    expected, got = trace_keras(qat, batch), trace_keras(read, batch)
    np.testing.assert_array_equal(got.outputs[0].array, expected.outputs[0].array)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    keras = frameworks().keras
    keras.utils.set_random_seed(0)
    left, right = keras.Input((4,), name="left"), keras.Input((6,), name="right")
    both = keras.layers.Concatenate()([left, right])
    zeta = keras.layers.Dense(3, name="zeta")(both)
    alpha = keras.layers.Dense(3, name="alpha")(both)
    model = keras.Model([left, right], [zeta, alpha])
    converter = converter_of(model)
    with quiet():
        (tmp_path / "float.tflite").write_bytes(converter.convert())
        model.save(tmp_path / "float.keras")
    rng = np.random.default_rng(0)
    arrays = {"right": rng.normal(size=(50, 6)), "left": rng.normal(size=(50, 4))}
    np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)
    outcome = api.diff(tmp_path / "float.keras", tmp_path / "float.tflite", tmp_path / "data.npz")
    (comparison,) = outcome.comparisons
    assert [(o.reference, o.candidate) for o in comparison.outputs] == [("zeta", "zeta"), ("alpha", "alpha")]
    assert comparison.figures.max_abs_error < 1e-5  # a swapped pair is off by one and more
    assert comparison.figures.count == 300
    assert describe(model, "m").inputs[0].name == "left"
