"""Every metric against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from quantdiff.compare import comparison, outcome
from quantdiff.errors import NotComparable
from quantdiff.quant import Array
from quantdiff.tally.stats import Stats, stats_of

A = np.array([[1.0, 2.0], [0.0, -4.0]], np.float32)
B = np.array([[1.5, 2.0], [0.25, -3.0]], np.float32)
# |A − B| = 0.5, 0, 0.25, 1;  A² sums to 21, (A − B)² to 1.3125, B² to 15.3125, A·B to 17.5


def of(metric: Callable[[Stats], float | None], reference: Array, candidate: Array) -> float | None:
    return metric(stats_of(reference, candidate))


def test_max_abs_error() -> None:
    assert stats_of(A, B).max_abs_error == 1.0


def test_mean_abs_error() -> None:
    assert of(comparison.mean_abs_error, A, B) == 0.4375


def test_max_relative_error_leaves_out_what_is_not_finite() -> None:
    assert of(comparison.max_relative_error, A, B) == 0.5  # 0.5/1; 1/4 is smaller, 0.25/0 is not finite


def test_max_relative_error_has_no_value_beside_zeros() -> None:
    assert of(comparison.max_relative_error, np.zeros(3), np.ones(3)) is None


@pytest.mark.parametrize(("tolerance", "share"), [(0.0, 0.75), (0.25, 0.5), (0.3, 0.5), (1.0, 0.0)])
def test_not_close_counts_what_lies_beyond_the_tolerance(tolerance: float, share: float) -> None:
    assert comparison.not_close(stats_of(A, B, tolerance)) == share


def test_sqnr() -> None:
    assert of(comparison.sqnr_db, A, B) == pytest.approx(10 * math.log10(21 / 1.3125), abs=1e-12)  # 12.04 dB: 16 times


def test_sqnr_at_its_ends() -> None:
    assert of(comparison.sqnr_db, A, A) == math.inf
    assert of(comparison.sqnr_db, np.zeros(2), np.ones(2)) == -math.inf


def test_cosine() -> None:
    assert of(comparison.cosine, A, B) == pytest.approx(17.5 / math.sqrt(21 * 15.3125), abs=1e-15)
    assert of(comparison.cosine, A, -A) == pytest.approx(-1, abs=1e-15)
    assert of(comparison.cosine, A, 0 * A) is None


def test_top1_takes_the_first_of_equals() -> None:
    reference = np.array([[1, 5, 2], [3, 3, 0], [0, 0, 9]])
    candidate = np.array([[0, 9, 1], [2, 3, 0], [0, 0, 1]])
    assert of(comparison.top1_agreement, reference, candidate) == pytest.approx(2 / 3)


def test_top1_needs_classes() -> None:
    assert of(comparison.top1_agreement, np.ones((4, 1)), np.ones((4, 1))) is None
    assert of(comparison.top1_agreement, np.ones(4), np.ones(4)) is None


def test_steps_do_not_wrap_in_eight_bits() -> None:
    low, high = np.array([-128, 5, 5], np.int8), np.array([127, 5, 6], np.int8)
    steps = stats_of(low, high, steps=(low, high))
    assert steps.differing == 2
    assert steps.max_steps == 255


def test_steps_are_refused_on_floats() -> None:
    with pytest.raises(NotComparable, match="integers"):
        stats_of(A, B, steps=(A, B))


def test_accuracy() -> None:
    assert outcome.accuracy(np.array([[0, 1], [1, 0], [0, 1.0]]), np.array([1, 1, 1])) == pytest.approx(2 / 3)
    with pytest.raises(NotComparable, match="3 decisions for 2 labels"):
        outcome.accuracy(np.ones((3, 2)), np.array([1, 1]))


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        (A, A[:1], "shapes differ"),
        (A[:0], A[:0], "nothing to compare"),
        (np.array([np.nan]), np.array([1.0]), "reference's output holds NaN"),
        (np.array([1.0]), np.array([np.inf]), "candidate's output holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused_rather_than_repaired(
    reference: Array, candidate: Array, message: str
) -> None:
    with pytest.raises(NotComparable, match=message):
        stats_of(reference, candidate)
