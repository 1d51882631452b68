"""Two values agree or not, whatever quantization does to one of them."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.align.alignment import Agreement, agreement, sample
from quantdiff.quant import Array, Grid, QuantParams, quantize
from quantdiff.recording import FlowValue

DICE = np.random.default_rng(0)
STEPS = QuantParams((0.05,), (3,))
GRID = Grid(STEPS, "int8", "t")
X = DICE.normal(0, 1.5, (40, 30)).astype(np.float32)


def of(reference: Array, candidate: Array, *, quantized: bool = True) -> Agreement:
    theirs = FlowValue(1, "t", "ADD", quant=STEPS, grid=GRID) if quantized else FlowValue(1, "t", "ADD")
    array = quantize(candidate, STEPS, "int8") if quantized else candidate
    found = agreement(sample(FlowValue(0, "x", "Add"), reference), sample(theirs, array))
    assert found is not None
    return found


def test_rounding_is_a_small_distance() -> None:
    assert of(X, X).distance == pytest.approx(0.05 / np.sqrt(12) / 1.5, rel=0.1)
    assert of(X, X, quantized=False) == Agreement(0.0, flat=False)


def test_strangers_are_far_apart() -> None:
    assert of(X, DICE.normal(0, 1.5, X.shape)).distance > 1.2
    assert of(X, -X).distance > 1.9


def test_channels_in_another_order_are_strangers() -> None:
    assert of(X, X[:, DICE.permutation(X.shape[1])]).distance > 1


def test_saturation_is_explained() -> None:
    assert of(20 * X, 20 * X).distance < 0.01  # nearly all at the ends of the grid, on both sides


@pytest.mark.parametrize(("offset", "agrees"), [(0.0, True), (0.04, True), (1.0, False)])
def test_what_hardly_varies_can_only_be_contradicted(offset: float, agrees: bool) -> None:
    constant = np.full((5, 4), 2.0, np.float32)
    found = of(constant + offset, constant)
    assert found.flat
    assert (found.distance <= 0.2) == agrees


def test_other_sizes_and_nan_are_no_answer() -> None:
    place = FlowValue(0, "x", "Add")
    assert agreement(sample(place, X), sample(place, X[:, :10])) is None
    assert agreement(sample(place, X), sample(place, X * np.float32("nan"))) is None


def test_large_values_are_looked_at_in_part() -> None:
    large = np.zeros((4, 2**16), np.float32)
    assert sample(FlowValue(0, "x", "Add"), large).elements.size < 2**16
