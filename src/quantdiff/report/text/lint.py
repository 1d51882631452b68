"""A ``LintReport`` as text for the terminal."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quantdiff.linting.finding import Finding, Severity
from quantdiff.linting.lint import LintReport
from quantdiff.report.plain import printable
from quantdiff.report.text.terminal import Terminal

PLACES_SHOWN = 8
WIDTH_IN_A_FILE = 120
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}


def print_lint(report: LintReport) -> None:
    """Write the findings to standard output: as wide as the terminal, or wide enough for a file."""
    console = Terminal(highlight=False, in_a_file=WIDTH_IN_A_FILE)
    if console.is_terminal:
        console.print(lint_text(report))
        return
    with console.capture() as capture:
        console.print(lint_text(report))
    for line in capture.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def lint_text(report: LintReport) -> RenderableType:
    """The findings by severity and code, each code with what it means and what to do; then the counts."""
    parts = [_code(list(found)) for _, found in groupby(report.findings, attrgetter("severity", "code"))]
    return Group(*parts, Text(summary(report), style="bold"))


def summary(report: LintReport) -> str:
    """``model.tflite: 0 errors, 2 warnings, 5 infos``."""
    counts = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in report.counts.items())
    return f"{printable(str(report.model.path or 'model'))}: {counts}"


def _code(found: list[Finding]) -> RenderableType:
    first = found[0]
    title = Text.assemble(
        (first.severity.value, STYLES[first.severity]), "  ", (first.code, "bold"), f"  {first.message}"
    )
    places = Table.grid(padding=(0, 2, 0, 0))
    places.add_column(overflow="fold")
    places.add_column(overflow="fold")
    for finding in found[:PLACES_SHOWN]:
        places.add_row(Text(printable(finding.place.text)), Text(printable(finding.evidence)))
    if len(found) > PLACES_SHOWN:
        places.add_row(Text(f"… {len(found) - PLACES_SHOWN} more: --json lists all", style="dim"), "")
    advice = Text(first.advice, style="dim")
    return Group(title, Padding(places, (0, 0, 0, 2), expand=False), Padding(advice, (0, 0, 1, 2), expand=False))
