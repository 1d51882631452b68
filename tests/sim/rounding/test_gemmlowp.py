"""Fixed-point exp, logistic and tanh: exact at the ends, close to the real function between."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.sim.rounding import gemmlowp

ONE = 2**31 - 1


def test_exp_at_its_ends() -> None:
    assert gemmlowp.exp_on_negative_values(np.asarray([0]), 5).tolist() == [ONE]
    assert gemmlowp.exp_on_negative_values(np.asarray([-(2**31)]), 10).tolist() == [0]


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("integer_bits", [0, 3, 4, 5])
def test_close_to_the_real_functions(bits: int, integer_bits: int) -> None:
    unit = 2.0 ** (bits - 1 - integer_bits)
    raw = np.linspace(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 2001).astype(np.int64)
    x, one = raw / unit, 2.0 ** (bits - 1)
    tolerance = 2e-3 if bits == 16 else 2e-7  # how good the approximation is; that it is theirs, golden tests show
    below = raw <= 0
    np.testing.assert_allclose(
        gemmlowp.exp_on_negative_values(raw[below], integer_bits, bits) / one, np.exp(x[below]), atol=tolerance
    )
    np.testing.assert_allclose(gemmlowp.logistic(raw, integer_bits, bits) / one, 1 / (1 + np.exp(-x)), atol=tolerance)
    np.testing.assert_allclose(gemmlowp.tanh(raw, integer_bits, bits) / one, np.tanh(x), atol=tolerance)


def test_symmetry_and_zero() -> None:
    raw = np.asarray([0, 1, 2**27, -(2**27)])
    assert gemmlowp.tanh(raw, 4)[0] == 0
    assert gemmlowp.tanh(raw, 4)[2] == -gemmlowp.tanh(raw, 4)[3]
    assert gemmlowp.logistic(raw, 4)[0] == 2**30
