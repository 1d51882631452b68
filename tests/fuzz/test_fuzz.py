"""Files damaged by the thousand: none is answered with anything but a result or one line, soon and in little memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.fuzzing import KINDS, attempt, limits, make, run

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
COUNT = 3000


def test_nothing_fails() -> None:
    counts = run(60, seed=2026, most=COUNT)
    assert counts.failed == {}
    assert counts.tried.total() == COUNT
    for suffix, kind in KINDS.items():  # damage that every file survives, or none does, tests nothing
        tried, refused = (sum(of[suffix, name] for name in kind.attacks) for of in (counts.tried, counts.refused))
        assert 0 < refused < tried


def test_a_number_makes_the_same_file_again() -> None:
    assert [make(1, number) for number in range(40)] == [make(1, number) for number in range(40)]
    assert len({make(1, number)[2] for number in range(40)}) > 30


@pytest.mark.parametrize(
    ("misdeed", "said"),
    [
        (lambda _: dict[str, int]()["x"], "KeyError: 'x'"),
        (lambda _: [0 for _ in iter(int, 1)], "TooSlow: more processor time than allowed"),
        (lambda _: bytes(2**30), "MemoryError: "),
    ],
)
def test_what_goes_wrong_is_seen(
    tmp_path: Path, misdeed: Callable[[Path], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, ".toml", KINDS[".toml"]._replace(read=misdeed))
    with limits():
        assert attempt(".toml", b"", tmp_path, seconds=0.1) == said


def test_the_table_of_the_docs_has_every_attack_and_no_failure() -> None:
    rows = re.findall(
        r"^\| `(\.\w+)` \| (.+?) \| ([\d,]+) \| .* \| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.M
    )
    assert {(suffix, name) for suffix, name, _, _ in rows} == {
        (s, name) for s, kind in KINDS.items() for name in kind.attacks
    }
    assert all(int(tried.replace(",", "")) >= 100 and failed == "0" for _, _, tried, failed in rows)
