"""What the data reach is told of every tensor that cuts them off, whether a layer of the reference gives it or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite
from written_pairs import RELU, explained, saved, two_dense_in_floats

from quantdiff.ladder.explanation import CLIPPING
from quantdiff.report.text.explanation import sentence

pytestmark = pytest.mark.golden

DICE = np.random.default_rng(4)
FIRST, LAST = (DICE.normal(size=shape).astype(np.float32) / 3 for shape in ((8, 6), (5, 8)))
X = DICE.uniform(-1, 1, (40, 6)).astype(np.float32)
H = np.maximum(X @ FIRST.T, 0)
MOST, HELD = float(H.max()), 0.3


def with_a_narrow_copy() -> bytes:
    """Between the layers a QUANTIZE onto a grid that ends at three tenths of what the data reach."""
    scales = [float(np.abs(kernel).max() / 127) for kernel in (FIRST, LAST)]
    tensors = [
        T("x", (1, 6), "int8", 1 / 127),
        T("first", (8, 6), "int8", scales[0], data=np.rint(FIRST / scales[0])),
        T("h", (1, 8), "int8", MOST / 255, -128),
        T("narrow", (1, 8), "int8", HELD * MOST / 255, -128),
        T("last", (5, 8), "int8", scales[1], data=np.rint(LAST / scales[1])),
        T("y", (1, 5), "int8", float(np.abs(H @ LAST.T).max() / 127)),
    ]
    operators = [
        Op("FULLY_CONNECTED", ["x", "first"], ["h"], {"fusedActivationFunction": RELU}, version=4),
        Op("QUANTIZE", ["h"], ["narrow"]),
        Op("FULLY_CONNECTED", ["narrow", "last"], ["y"], {}, version=4),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def test_a_copy_on_a_narrow_grid_says_what_the_data_reach(tmp_path: Path) -> None:
    told = explained(saved(tmp_path, two_dense_in_floats(FIRST, LAST), with_a_narrow_copy()), X)
    assert told.frontier is not None
    first = told.frontier.items[0]
    assert (first.op, first.tensor, first.mechanism) == ("QUANTIZE", "narrow", CLIPPING)
    assert first.share > 0.9
    assert first.held == pytest.approx((0, HELD * MOST), abs=1e-6)
    assert first.met == pytest.approx((0, MOST), abs=1e-4)
    assert f"the file holds 0 … {HELD * MOST:.4g}, the data reach {MOST:.4g}" in sentence(told)
    assert any(each.change.endswith("range from this data") for each in told.advice)
