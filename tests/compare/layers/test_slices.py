"""The slices in which two models are run cover the data, the first ones small."""

from __future__ import annotations

from itertools import pairwise

import pytest

from quantdiff.compare.layers.watch import slices_of


@pytest.mark.parametrize(("samples", "at_once"), [(1, 1), (1, 1000), (16, 7), (64, 7), (10_000, 895), (3, 1)])
def test_every_sample_once_and_never_too_many(samples: int, at_once: int) -> None:
    slices = slices_of(samples, at_once)
    assert [i for start, stop in slices for i in range(start, stop)] == list(range(samples))
    assert all(stop - start <= at_once for start, stop in slices)
    assert all(b[1] - b[0] <= 2 * (a[1] - a[0]) for a, b in pairwise(slices))


def test_sizes_by_hand() -> None:
    assert slices_of(30, 8) == [(0, 1), (1, 3), (3, 7), (7, 15), (15, 23), (23, 30)]
    assert slices_of(0, 8) == []
