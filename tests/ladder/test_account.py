"""At which rung an output comes right, counted by hand."""

from __future__ import annotations

import numpy as np

from quantdiff.ladder.account import Account, LayerAccount
from quantdiff.ladder.explanation import Difference
from quantdiff.ladder.rungs import Target

RUNGS = ("reference", "weights", "rounding", "runtime")


def test_an_output_comes_right_where_it_stays_right() -> None:
    truth = np.array([0, 0, 0, 0, 0], np.int8)
    ladder = [
        [np.array([0, 1, 1, 1, 3], np.int8)],  # the first never differs
        [np.array([0, 0, 0, 1, 1], np.int8)],
        [np.array([9, 0, 1, 1, 0], np.int8)],  # the third is right above by accident
        [truth],
    ]
    account = Account(RUNGS)
    account.add([Target(truth)], ladder)
    assert account.differing == 4
    assert account.after == [4, 2, 3, 0]
    assert account.resolved == [0, 1, 1, 2]
    assert account.changed == [0, 3, 3, 3]
    assert account.steps == [3, 1, 9, 0]


def test_each_differing_output_is_listed_with_its_place_and_rung() -> None:
    truth, wrong = np.zeros(6, np.int8), np.array([0, 2, 0, 0, -1, 0], np.int8)
    account = Account(RUNGS)
    account.add([Target(truth)], [[wrong], [np.array([0, 0, 0, 0, 1, 0], np.int8)], [truth], [truth]], 10, 3)
    assert account.listed == [Difference(10, 0, 1, 2, "weights"), Difference(12, 0, 0, -1, "rounding")]


def test_parts_of_the_data_add_up() -> None:
    rng = np.random.default_rng(0)
    truth, rungs = rng.integers(-3, 3, 40), rng.integers(-3, 3, (3, 40))
    whole, parts = Account(RUNGS), Account(RUNGS)
    whole.add([Target(truth)], [[r] for r in (*rungs, truth)], 0, 40)
    for some in (slice(0, 7), slice(7, 40)):
        count = some.stop - some.start
        parts.add([Target(truth[some])], [[r[some]] for r in (*rungs, truth)], some.start, count)
    assert whole == parts


def test_floats_without_a_grid_are_right_within_the_tolerance() -> None:
    target = Target(np.array([1.0, 2.0, 3.0], np.float32), tolerance=0.01)
    assert target.wrong(np.array([1.005, 2.02, np.nan], np.float32)).tolist() == [False, True, True]
    assert target.distance(np.zeros(3, np.float32)) is None


def test_a_layer_keeps_both_accounts() -> None:
    layer = LayerAccount("a", "t", "ADD", 3)
    layer.add(Target(np.array([1, 2], np.int8)), {0: np.array([1, 4])}, {0: np.array([5, 2]), 1: np.array([1, 2])})
    value = layer.value()
    assert (value.count, value.differing_after, value.local, value.local_max_steps) == (2, (1, 0, 0), (1, 0, 0), 4)
