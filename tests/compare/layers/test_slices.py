"""The slices in which two models are run cover the data and are of one size."""

from __future__ import annotations

import pytest

from quantdiff.compare.layers.figures import slices_of


@pytest.mark.parametrize(("samples", "at_once"), [(1, 1), (1, 1000), (16, 7), (64, 7), (10_000, 895), (3, 1)])
def test_every_sample_once_and_never_too_many(samples: int, at_once: int) -> None:
    slices = slices_of(samples, at_once)
    assert [i for start, stop in slices for i in range(start, stop)] == list(range(samples))
    assert all(stop - start <= at_once for start, stop in slices)
    assert len({stop - start for start, stop in slices[:-1]}) <= 1


def test_sizes_by_hand() -> None:
    assert slices_of(15, 8) == [(i, min(i + 2, 15)) for i in range(0, 15, 2)]
    assert slices_of(100, 40) == [(0, 13), (13, 26), (26, 39), (39, 52), (52, 65), (65, 78), (78, 91), (91, 100)]
    assert slices_of(100, 60)[0] == slices_of(100, 13)[0]
    assert slices_of(0, 8) == []
