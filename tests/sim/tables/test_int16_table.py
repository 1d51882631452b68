"""The table of sigmoids behind int16 logistic and tanh: entries worked out by hand, ends and symmetry."""

from __future__ import annotations

import numpy as np

from quantdiff.sim.tables.int16_table import SIGMOIDS, logistic, tanh


def test_entries_err_evenly_around_the_curve() -> None:
    # sigmoid(4/24)·65536 is 35492.36; half of what the chord loses, 0.28, lifts it over the half
    assert SIGMOIDS[[0, 1, 4, 255]].tolist() == [32768, 33451, 35493, 65535]


def test_ends_and_symmetry() -> None:
    x = np.asarray([-32768, -4096, 0, 4096, 32767])
    assert logistic(x)[2] == 16384
    assert tanh(x).tolist()[1:4] == [-tanh(x)[3], 0, tanh(x)[3]]
    np.testing.assert_allclose(logistic(x) / 2**15, 1 / (1 + np.exp(-x / 4096)), atol=1e-4)
    np.testing.assert_allclose(tanh(x) / 2**15, np.tanh(x / 4096), atol=1e-4)
