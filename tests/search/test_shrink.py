"""Bisection and delta debugging: what comes out shows, and nothing of it can be left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quantdiff.search.reduce import minimal, window


@pytest.mark.parametrize(("needed", "count"), [({0}, 1), ({7}, 8), ({3, 4}, 64), ({0, 63}, 64), ({63}, 64)])
def test_the_shortest_window_that_shows(needed: set[int], count: int) -> None:
    asked = []

    def shows(some: Sequence[int]) -> bool:
        asked.append(len(some))
        return needed <= {*some}

    found = window(range(count), shows, lambda some: True)
    assert found == [*range(min(needed), max(needed) + 1)]
    assert len(asked) <= 2 * count.bit_length()


def test_a_window_ends_where_it_can_be_cut() -> None:
    asked = []

    def shows(some: Sequence[int]) -> bool:
        asked.append(some)
        return 5 in some

    found = window(range(12), shows, lambda some: some[0] % 3 == 0 and (some[-1] + 1) % 3 == 0)
    assert found == [3, 4, 5]
    assert all(some[0] % 3 == 0 and (some[-1] + 1) % 3 == 0 for some in asked)


@pytest.mark.parametrize("needed", [{2}, {1, 5}, {0, 3, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}])
def test_nothing_can_be_left_out(needed: set[int]) -> None:
    assert minimal(range(10), lambda some: needed <= {*some}) == sorted(needed)
