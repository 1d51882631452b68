"""What to expect is told before a runtime runs, and is what is measured."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Runs

from quantdiff import api
from quantdiff.ladder.expectation import Expectation, Tally
from quantdiff.ladder.explanation import RANGES
from quantdiff.ladder.recalibration import unsettled


def test_tally_by_hand() -> None:
    tally = Tally()
    reference = np.array([[[-128, 3], [-128, 127]]], np.int8)
    tally.add(reference, np.array([-128, 3, -127, 126], np.int8))
    tally.add(reference, reference)
    assert (tally.count, tally.differing) == (8, 2)
    assert tally.codes is not None
    assert tally.codes.shape == (2, 256)
    assert [*np.flatnonzero(tally.codes[0])] == [0]
    assert [*np.flatnonzero(tally.codes[1])] == [131, 255]
    assert tally.codes[0, 0] == 4


@pytest.mark.keras
@pytest.mark.golden
def test_it_is_told_first_and_comes_true(runs: Runs) -> None:
    _, out = runs(model="dense2")
    heard: list[str] = []
    told: list[Expectation] = []

    def tell(expected: Expectation) -> None:
        told.append(expected)
        heard.append("told")

    settings = api.Settings(runtimes=("reference", "builtin"))
    answer = api.explain(
        out / "qat.h5", out / "model.tflite", out / "data.npz", settings, lambda *_: heard.append("runs"), tell
    )
    assert heard[0] == "told"
    assert [each.runtime for each in told] == ["reference", "builtin"]
    for expected, explanation in zip(told, answer.found, strict=True):
        assert expected.exactly == explanation.measured == explanation.expected_exactly
        assert expected.count == explanation.count
        shares = {layer.layer: layer.exactly for layer in expected.layers}
        assert shares == {layer.layer: layer.measured for layer in explanation.layers}
        assert expected.closed_form == pytest.approx(expected.exactly, rel=0.5)


@pytest.mark.keras
@pytest.mark.golden
def test_ranges_that_never_settled_are_tried_anew(runs: Runs) -> None:
    """Few steps leave TFMOT's moving averages near -6 and 6: more than half of the convolution's grid is not used."""
    _, out = runs(model="CNN")
    told: list[Expectation] = []
    (explanation,) = api.explain(out / "qat.h5", out / "model.tflite", out / "data.npz", tell=told.append).found
    assert "quant_conv2d" in unsettled(told[0])
    (tried,) = (each for each in explanation.advice if each.mechanism == RANGES)
    assert "quant_conv2d" in tried.note
    assert tried.after < tried.before == explanation.differing


def test_without_an_expectation_nothing_is_unsettled() -> None:
    assert unsettled(None) == ()
