"""Which decisions moved where: a heat map that is a table, so that it can be read aloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quantdiff.compare.evidence import Confusion, Evidence
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Section

SHADES = 5


def confusion_section(evidence: Sequence[Evidence]) -> Section | None:
    """Decisions of the reference against those of the candidate; None where no output decides."""
    entries = [
        {"evidence": each, "confusion": each.confusion, "rows": list(_rows(each.confusion))}
        for each in evidence
        if each.confusion is not None
    ]
    return (
        Section("decisions", "Which decisions changed", render("confusion.html", entries=entries)) if entries else None
    )


def _rows(confusion: Confusion) -> Any:
    """Name and cells of each row; a cell is its count, and how dark: on the diagonal nothing has changed."""
    most = max((n for i, row in enumerate(confusion.counts) for j, n in enumerate(row) if i != j), default=0)
    for i, (name, row) in enumerate(zip(confusion.names, confusion.counts, strict=True)):
        yield name, [(count, "same" if i == j else f"shade-{_shade(count, most)}") for j, count in enumerate(row)]


def _shade(count: int, most: int) -> int:
    """0 for none, ``SHADES`` for the most, by the logarithm."""
    return math.ceil(SHADES * math.log(1 + count) / math.log(1 + most)) if count else 0
