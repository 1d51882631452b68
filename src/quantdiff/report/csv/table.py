"""Rows → lines of CSV in which no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quantdiff.report.text.terminal import printable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of a text that a spreadsheet runs (https://owasp.org/www-community/attacks/CSV_Injection)."""


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, heading: bool) -> str:
    """The rows by the names of the columns; what has no value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if heading:
        writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A number as it is; a text on one line, behind an apostrophe where a spreadsheet would run it."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(FORMULA) else "") + printable(value)
