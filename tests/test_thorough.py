"""The list of what takes longest names tests that are there."""

from __future__ import annotations

from pathlib import Path

from conftest import LONG

ROOT = Path(__file__).parents[1]


def test_every_name_is_that_of_a_test() -> None:
    gone = set()
    for name in LONG:
        file, test = name.partition("[")[0].split("::")
        if f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8"):
            gone.add(name)
    assert gone == set()
