"""The original parameter comparison on a small data set: what was calibrated on what, and how it is printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from quantdiff import api
from quantdiff.cli import main
from quantdiff.experiment import zoo
from quantdiff.experiment.conditions import quantize_all_values
from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.trial import Trial
from quantdiff.parameters.quantizers import Parameters
from quantdiff.quant import Array

pytestmark = [pytest.mark.keras, pytest.mark.golden]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,100 images, so that calibration takes two slices, the second one short."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    dice = np.random.default_rng(0)
    arrays: dict[str, Array] = {"x_train": dice.integers(0, 256, (1100, 28, 28), np.uint8)}
    arrays |= {"y_train": dice.integers(0, 10, 1100), "x_test": arrays["x_train"][:50], "y_test": np.arange(50) % 10}
    np.savez(path, allow_pickle=False, **arrays)
    return path


@pytest.fixture(scope="module")
def answer(digits: Path) -> Parameters:
    return api.params_experiment(Trial("dense3", seed=0, data=str(digits), quantize=True))


def test_ranges_hold_every_value_seen(answer: Parameters) -> None:
    """By hand, the first layer's sums span just the range that calibration found; the file's covers it to a step."""
    first = next(row for row in answer.rows if row.name == "quant_dense/post_activation")
    assert first.by_hand
    assert first.direct
    assert first.file
    assert first.by_hand.low[0] == pytest.approx(first.direct.low[0], rel=1e-5)
    assert first.by_hand.high[0] == pytest.approx(first.direct.high[0], rel=1e-5)


def test_weights_stay_and_kernels_are_equal(answer: Parameters, digits: Path) -> None:
    kernels = [row for row in answer.rows if row.role == "kernel"]
    assert [reason.code for row in kernels for reason in row.reasons] == ["equal"] * 3
    data = load_dataset(str(digits))
    base = zoo.build(Trial("dense2"))
    qat = quantize_all_values(base, data.x_train, lambda stage, done, total: None)
    own = [weight.numpy() for weight in base.weights]
    trained = [weight.numpy() for weight in qat.weights if weight.name.split("/")[-1] in ("kernel:0", "bias:0")]
    assert all(np.array_equal(a, b) for a, b in zip(own, trained, strict=True))


def test_a_bias_that_the_converter_moved_is_found(answer: Parameters) -> None:
    biases = {row.layer: row.reasons[0] for row in answer.rows if row.role == "bias"}
    moved = [(layer, reason.text) for layer, reason in biases.items() if reason.code == "moved bias"]
    assert len(moved) == 2
    assert "the converter adds it to the bias of" in moved[0][1]
    assert f"holds the bias of {moved[0][0]} too" in moved[1][1]


def test_zero_is_exact_on_both_kinds_of_range(answer: Parameters) -> None:
    assert [(check.kind, check.value) for check in answer.zero_checks] == [("symmetric", 0.0), ("asymmetric", 0.0)]
    assert all("CPU:0" in check.device for check in answer.zero_checks)
    assert [*answer.accuracy] == ["float", "qat", "tflite:xnnpack"]


def test_the_command_prints_sections_in_columns(digits: Path) -> None:
    arguments = ["params", "--model", "dense1", "--no-bias", "--data", str(digits)]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0, text.output
    for heading in ("Directly from the QAT model", "From the TFLite model", "From intermediate", "From manual"):
        assert heading in text.stdout
    lines = [line for line in text.stdout.splitlines() if line.startswith("quant_dense/kernel_m")]
    assert len({len(line.rstrip()) for line in lines[:2]}) == 1
    assert "tensorflow 2" in text.stdout
    document = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    kernel = next(row for row in document["rows"] if row["role"] == "kernel")
    assert kernel["direct"]["high"][0] == kernel["nudged"]["high"][0]
    assert len(document["zero_checks"]) == 2
    assert document["seed"] == 0
    assert document["bias"] is False
