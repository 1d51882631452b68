"""Quantization of a row by its own range: zero points, ties and rows without a range, by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from quantdiff.quant import Array
from quantdiff.sim.dynamic_input import asymmetric, kleidi, symmetric, xnnpack
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

RULES = [partial(symmetric, runtime=Runtime.BUILTIN), partial(asymmetric, runtime=Runtime.BUILTIN), xnnpack, kleidi]


def row(*values: float) -> Array:
    return np.asarray([values], np.float32)


def test_symmetric_rounds_ties_away_from_zero() -> None:
    found = symmetric(row(127, 0.5, -0.5, 1.5, -2.5, 126.5, 3, -4, 0.5, -0.5), Runtime.BUILTIN)
    assert found.q.tolist() == [[127, 1, -1, 2, -3, 127, 3, -4, 1, -1]]
    assert (found.scale.tolist(), found.zero_point.tolist()) == ([[1.0]], [[0]])


def test_body_adds_a_half_in_float_and_tail_does_not() -> None:
    below_half = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert symmetric(row(127, *[below_half] * 12), Runtime.BUILTIN).q.tolist() == [[127, *[1] * 7, *[0] * 5]]


def test_arm64_rounds_the_whole_row_away() -> None:
    below_half = float(np.nextafter(np.float32(0.5), np.float32(0)))
    found = symmetric(row(127, *[below_half, 0.5] * 6), Runtime.REFERENCE_ARM64)
    assert found.q.tolist() == [[127, *[0, 1] * 6]]
    assert kleidi(row(-100, 155, 0.5, -0.5, 1.5)).q.tolist() == [[-128, 127, -27, -29, -26]]


def test_asymmetric_adds_the_zero_point_after_rounding_away() -> None:
    found = asymmetric(row(-100, 155, 0.5, -0.5, 1.5), Runtime.BUILTIN)
    assert (found.scale.tolist(), found.zero_point.tolist()) == ([[1.0]], [[-28]])
    assert found.q.tolist() == [[-128, 127, -27, -29, -26]]


def test_xnnpack_rounds_ties_to_even() -> None:
    found = xnnpack(row(-100, 155, 0.5, -0.5, 1.5))
    assert (found.scale.tolist(), found.zero_point.tolist()) == ([[1.0]], [[-28]])
    assert found.q.tolist() == [[-128, 127, -28, -28, -26]]


@pytest.mark.parametrize("rule", RULES[1:])
def test_range_is_stretched_to_zero(rule: type) -> None:
    assert rule(row(255, 51)).zero_point.tolist() == [[-128]]
    assert rule(row(-255, -51)).zero_point.tolist() == [[127]]


@pytest.mark.parametrize("rule", RULES)
def test_row_of_zeros_has_scale_one(rule: type) -> None:
    found = rule(np.asarray([[0, 0], [1, 2]], np.float32))
    assert found.scale[0] == 1
    assert found.centred[0].tolist() == [0, 0]
    assert found.centred[1].any()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [1e-30, 1e38, np.inf, np.nan])
def test_values_that_float32_cannot_scale_are_refused(rule: type, value: float) -> None:
    with pytest.raises(NoKernel, match="scales leave float32"):
        rule(row(value, 0))
