"""Cells that a spreadsheet would run."""

from __future__ import annotations

import csv

import pytest

from quantdiff.report.csv.study import csv_lines
from quantdiff.report.text.terminal import printable


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-x", "@SUM(1)", "\tx", "\r=1", "\n=1"])
def test_a_text_is_no_formula(name: str) -> None:
    written = csv_lines(["name", "figure"], [{"name": name, "figure": -1.5}], heading=True)
    assert list(csv.reader(written.splitlines(keepends=True)))[1:] == [["'" + printable(name), "-1.5"]]


@pytest.mark.parametrize("name", ["dense1", "a=b", "", "mnist-small"])
def test_other_texts_stay(name: str) -> None:
    assert csv_lines(["name", "none"], [{"name": name}], heading=False) == f"{name},\n"
