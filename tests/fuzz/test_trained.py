"""Trained models damaged by the hundred, as their child reads them, and what stands in the tables of the docs."""

from __future__ import annotations

import pytest
from fuzz.counting import TRAINED as SUFFIXES
from fuzz.counting import total
from fuzz.trained import TRAINED, run_apart, run_children

pytestmark = pytest.mark.keras
COUNT = 100


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", [each for each in SUFFIXES if each != ".pt2"])
def test_nothing_fails(suffix: str) -> None:
    counts = run_apart(60, 2027, suffix, COUNT)
    assert counts.failures == []
    assert counts.tried.total() == COUNT
    assert counts.ended.total() < 3  # a loop in HDF5 itself
    assert 0 < counts.refused.total() < COUNT


def test_children_answer() -> None:
    assert run_children(60, 2026, 4).failures == []


def test_the_counts_have_every_attack_and_no_failure_left() -> None:
    counts, seeds, failed = total("trained")
    assert set(counts.tried) == {(suffix, name) for suffix, kind in TRAINED.items() for name in kind.attacks}
    assert min(counts.tried.values()) >= 100
    assert failed[[*seeds][-1]] == 0
