"""Worst samples and flipped decisions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from quantdiff.compare.layers.figures import KEPT, Decisions, Flip, WorstSample
from quantdiff.quant import Value


def add(decisions: Decisions, a: ArrayLike, b: ArrayLike, first: int = 0, pair: int = 0) -> None:
    decisions.add(pair, Value("a", np.asarray(a, np.float32)), Value("b", np.asarray(b, np.float32)), first)


def test_flips_and_worst_samples_over_slices() -> None:
    decisions = Decisions(frozenset({0}))
    add(decisions, [[1, 0, 0], [0, 3, 1]], [[0, 1, 0], [0, 3, 1]])
    add(decisions, [[0, 0.5, 0.25]], [[0, 0, 4]], first=2)
    assert (decisions.flipped, decisions.decided) == (2, 3)
    assert decisions.flips == [Flip(0, 0, 1, 1.0), Flip(2, 1, 2, 0.25)]
    assert decisions.worst == [WorstSample(2, 3.75), WorstSample(0, 1.0)]


def test_only_ends_decide() -> None:
    decisions = Decisions(frozenset({1}))
    add(decisions, [[1, 0]], [[0, 1]], pair=0)
    assert decisions.decided == 0


@pytest.mark.parametrize("shape", [(2, 1), (2, 3, 4)])
def test_what_is_no_decision(shape: tuple[int, ...]) -> None:
    decisions = Decisions(frozenset({0}))
    add(decisions, np.zeros(shape), np.ones(shape))
    assert (decisions.decided, len(decisions.worst)) == (0, 2)


def test_what_is_kept_does_not_grow() -> None:
    decisions, dice = Decisions(frozenset({0})), np.random.default_rng(0)
    for i in range(5):
        add(decisions, dice.normal(size=(40, 5)), dice.normal(size=(40, 5)), first=40 * i)
    assert len(decisions.worst) == len(decisions.flips) == KEPT
    assert decisions.flipped > 2 * KEPT
