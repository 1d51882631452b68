"""Text that is safe to print and JSON that any reader takes."""

import json

from quantdiff.report.json.text import json_text
from quantdiff.report.text.terminal import printable


def test_numbers_are_never_rounded_and_odd_ones_are_strings() -> None:
    values = {"a": 0.1 + 0.2, "b": float("nan"), "c": [float("inf"), (-float("inf"),)], "d": None}
    expected = {"a": 0.30000000000000004, "b": "NaN", "c": ["Infinity", ["-Infinity"]], "d": None}
    assert json.loads(json_text(values)) == expected


def test_control_characters_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[31m\u202eb é") == "a\\x1b[31m\\u202eb é"
