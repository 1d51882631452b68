"""The closed form where the reference does not round: by hand, and beside what the simulator counts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, write_pair

from quantdiff.ladder import prediction
from quantdiff.ladder.prediction import Prediction, differing, predict
from quantdiff.ladder.set_up import Question
from quantdiff.load.tflite import load_tflite
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import RuntimeProcess
from quantdiff.sim.runtime import Runtime

CLOSE = 0.03


def predicted(folder: Path, net: str) -> Prediction:
    files = write_pair(folder, NETS[net]())
    reference, candidate = load_tflite(files.reference), load_tflite(files.candidate)
    with RuntimeProcess("reference") as process:
        trace = partial(trace_tflite, reference, process=process)
        question = Question("tflite:reference", trace, reference, candidate, files.batch, 0.01)
        found = predict(question, Runtime.REFERENCE)
    assert found is not None
    return found


@pytest.mark.golden
@pytest.mark.parametrize("net", NETS)
def test_it_is_near_what_the_simulator_counts(tmp_path: Path, net: str) -> None:
    found = predicted(tmp_path, net)
    assert found.closed_form == pytest.approx(found.exactly, abs=CLOSE)
    assert len(found.layers) > 2
    for layer in found.layers:
        assert layer.closed_form == pytest.approx(layer.exactly, abs=CLOSE), layer.tensor


@pytest.mark.golden
def test_without_the_noise_of_rounding_it_is_far_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "ROUNDING", 0.0)
    found = predicted(tmp_path, "residual")
    assert found.closed_form is not None
    assert found.closed_form < found.exactly - CLOSE


def test_how_likely_a_step_is_left() -> None:
    mean, spread = np.array([0.0, 0.25, -0.75, 3.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.0, 1e3])
    np.testing.assert_allclose(differing(mean, spread), [0, 0.25, 0.75, 1, 1], atol=1e-3)
    dice = np.abs(np.random.default_rng(1).normal(0.3, 0.5, 10**6))
    drawn = float(np.minimum(dice, 1).mean())
    assert differing(np.array([0.3]), np.array([0.5]))[0] == pytest.approx(drawn, abs=2e-3)
