"""Files that are quantized in part: floats behind an island of integers are counted in its steps, without its ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite
from written_pairs import RELU, explained, saved, two_dense_in_floats

from quantdiff import api
from quantdiff.ladder.explanation import BIAS
from quantdiff.load.data import Batch

pytestmark = pytest.mark.golden

DICE, SAMPLES, OFF = np.random.default_rng(3), 40, 0.7
FIRST, LAST = (DICE.normal(size=shape).astype(np.float32) / 3 for shape in ((8, 6), (5, 8)))
BIAS_OF_LAST = np.array([0, -1, 0.5, -2, 1], np.float32)
X = DICE.uniform(-1, 1, (SAMPLES, 6)).astype(np.float32)


def with_an_island() -> bytes:
    """The first layer in integers, the last one in floats and with a bias that is off."""
    off = BIAS_OF_LAST + np.array([0, 0, 0, OFF, 0], np.float32)
    scale, end = float(np.abs(FIRST).max() / 127), float(np.maximum(X @ FIRST.T, 0).max())
    tensors = [
        T("x", (1, 6), "float32"),
        T("q", (1, 6), "int8", 1 / 127),
        T("first", (8, 6), "int8", scale, data=np.rint(FIRST / scale)),
        T("h", (1, 8), "int8", end / 255, -128),
        T("f", (1, 8), "float32"),
        T("last", (5, 8), "float32", data=LAST),
        T("bias", (5,), "float32", data=off),
        T("y", (1, 5), "float32"),
    ]
    operators = [
        Op("QUANTIZE", ["x"], ["q"]),
        Op("FULLY_CONNECTED", ["q", "first"], ["h"], {"fusedActivationFunction": RELU}, version=4),
        Op("DEQUANTIZE", ["h"], ["f"]),
        Op("FULLY_CONNECTED", ["f", "last", "bias"], ["y"], {}),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def test_floats_behind_an_island_have_no_ends(tmp_path: Path) -> None:
    files = saved(tmp_path, two_dense_in_floats(FIRST, LAST, BIAS_OF_LAST), with_an_island())
    told = explained(files, X, "xnnpack")
    assert told.frontier is not None
    assert told.leading == BIAS
    assert told.frontier.shares[BIAS] > 0.99
    assert told.closed_reference
    assert told.closed_candidate
    assert told.differing >= SAMPLES, "outputs below 0 that are off differ, too"
    (cure,) = [each for each in told.advice if each.mechanism == BIAS]
    assert cure.now is not None
    assert cure.then is not None
    assert cure.then.sqnr_db > cure.now.sqnr_db + 20
    (found,) = api.diff(*files, Batch({"x": X})).comparisons
    assert found.figures.sqnr_db == pytest.approx(cure.now.sqnr_db, abs=1e-6)
    assert not [each for each in found.notes if "lost" in each]
