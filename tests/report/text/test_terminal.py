"""What is printed is text: markup, emoji and what steers a terminal lose their power in one place."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import quantdiff
from quantdiff.report.text.terminal import Terminal

NAMES = (
    "[/x]",
    "[bold red]rich[/]",
    "[link=http://x]y[/link]",
    "[[/]",
    ":smile:",
    r"\[x]",
    "\x1b[31mx",
    "\x9b31m",
    "\u202ex",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_a_name(name: str) -> None:
    written = io.StringIO()
    console = Terminal(file=written, width=200)
    table = Table(name, box=None)
    table.add_row(name)
    for part in (name, Text(name), table):
        console.print(part)
    shown = written.getvalue()
    assert shown.count(name.encode("unicode_escape").decode() if not name.isprintable() else name) == 4
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_nobody_else_makes_a_console_or_reads_markup() -> None:
    package = Path(quantdiff.__file__).parent
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"rich\.markup|from_markup|\bConsole\([^)]", path.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == ["report/text/terminal.py"]


SENTENCE = Text.assemble(
    ("verdict: ", "bold"), "three of 1,234 outputs differ\nsee it: quantdiff diff a.tflite b.tflite"
)


@pytest.mark.parametrize(
    ("terminal", "lines"),
    [
        (True, ["verdict: three of", "        1,234", "        outputs", "        differ"]),
        (False, ["verdict: three of 1,234 outputs differ"]),
    ],
)
def test_a_sentence_breaks_between_words_on_a_terminal_alone(terminal: bool, lines: list[str]) -> None:
    """A command is to be copied, and stays whole."""
    written = io.StringIO()
    Terminal(file=written, width=18, force_terminal=terminal, color_system=None).print(SENTENCE, soft_wrap=True)
    assert written.getvalue().splitlines() == [*lines, "see it: quantdiff diff a.tflite b.tflite"]
