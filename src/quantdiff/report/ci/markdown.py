"""Values → Markdown as GitHub and GitLab render it; names from a file may hold anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from quantdiff.compare.comparison import Figures
from quantdiff.compare.outcome import Outcome
from quantdiff.report.text.terminal import NO_VALUE, printable

MEANT = re.compile(r"([\\`*_{}\[\]<>|~#@&$])")
"""What Markdown, HTML or mentions give a meaning; a backslash takes it away (CommonMark 0.31, section 2.4)."""
FIGURES: Mapping[str, Callable[[Figures], str]] = {
    "differ as integers": lambda f: _number(f.differing, ","),
    "largest difference": lambda f: _steps(f.max_steps),
    "max error": lambda f: f"{f.max_abs_error:.6g}",
    "not close": lambda f: f"{f.not_close:.3%}",
    "same top-1": lambda f: _number(f.top1_agreement, ".3%"),
    "SQNR dB": lambda f: f"{f.sqnr_db:.2f}",
}


def escaped(text: str) -> str:
    """``text`` as itself, on one line, wherever Markdown stands."""
    return MEANT.sub(r"\\\1", printable(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of finished cells; the first column to the left, as all columns that hold words."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figures_table(outcome: Outcome) -> str:
    """A row per comparison; empty where there is none."""
    rows = [
        [escaped(c.reference), escaped(c.candidate), *(form(c.figures) for form in FIGURES.values())]
        for c in outcome.comparisons
    ]
    return table(["reference", "candidate", *FIGURES], rows) if rows else ""


def fenced(text: str) -> str:
    """``text`` line by line as it is, in a fence longer than any within."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n" + "\n".join(printable(line) for line in text.splitlines()) + f"\n{fence}\n"


def _steps(count: int | None) -> str:
    return NO_VALUE if count is None else f"{count:,} step" + "s" * (count != 1)


def _number(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)
