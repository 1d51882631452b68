"""Files damaged by the thousand: none is answered with anything but a result or one line, soon and in little memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzz.agreement import run_beside, verified
from fuzz.counting import PAGE, TABLES, total
from fuzz.fuzzing import KINDS, attempt, limits, make, models, run

COUNT = 8000


@pytest.mark.thorough
def test_nothing_fails() -> None:
    counts = run(60, seed=2026, most=COUNT)
    assert counts.failures == []
    assert counts.tried.total() == COUNT


def test_what_litert_s_verifier_takes_is_read_alike_and_nothing_else_is_read() -> None:
    counts = run_beside(400, seed=2026)
    assert counts.failures == []
    assert min(of.total() for of in (counts.whole, counts.refused, counts.ended)) > 0


def test_the_verifier_is_asked() -> None:
    whole = models()[0]
    assert verified([whole, whole[:-9], whole]) == [True, False, True]


def test_a_number_makes_the_same_file_again() -> None:
    assert [make(1, number) for number in range(40)] == [make(1, number) for number in range(40)]
    assert len({make(1, number)[2] for number in range(40)}) > 30


@pytest.mark.parametrize(
    ("misdeed", "said"),
    [
        (lambda: dict[str, int]()["x"], "KeyError: 'x'"),
        (lambda: [0 for _ in iter(int, 1)], "TooSlow: more processor time than allowed"),
        (lambda: bytes(2**30), "MemoryError: "),
    ],
)
def test_what_goes_wrong_is_seen(misdeed: Callable[[], object], said: str) -> None:
    with limits():
        assert attempt(misdeed, seconds=0.1) == said


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_docs_is_that_of_the_counts(name: str) -> None:
    assert f"<!-- {name} -->\n{TABLES[name]()}<!-- end -->" in PAGE.read_text(encoding="utf-8")


def test_the_counts_have_every_attack_and_no_failure_left() -> None:
    counts, seeds, failed = total()
    assert set(counts.tried) == {(suffix, name) for suffix, kind in KINDS.items() for name in kind.attacks}
    assert min(counts.tried.values()) >= 100
    assert failed[[*seeds][-1]] == 0
    for suffix, kind in KINDS.items():  # damage that every file survives, or none does, tests nothing
        tried, refused = (sum(of[suffix, name] for name in kind.attacks) for of in (counts.tried, counts.refused))
        assert 0 < refused < tried
