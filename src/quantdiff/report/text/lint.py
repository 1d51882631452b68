"""A ``LintReport`` as text for the terminal."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from quantdiff.linting.lint import LintReport
from quantdiff.linting.registry import Finding, Severity
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, printable

PLACES_SHOWN = 8
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}


def print_lint(report: LintReport, console: Terminal) -> None:
    """Print the findings; in a file no line ends in blanks."""
    if console.is_terminal:
        console.print(lint_text(report))
        return
    with console.capture() as capture:
        console.print(lint_text(report))
    for line in capture.get().splitlines():
        console.out(line.rstrip())


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
    rows = tuple(Row(_place(finding), finding.evidence) for finding in found[:PLACES_SHOWN])
    places: list[RenderableType] = [Table((Column("", "word"), Column("", "name")), rows)]
    if len(found) > PLACES_SHOWN:
        places.append(Text(f"… {len(found) - PLACES_SHOWN} more: --json lists all", style="dim"))
    advice = Text(first.advice, style="dim")
    return Group(
        title, Padding(Group(*places), (0, 0, 0, 2), expand=False), Padding(advice, (0, 0, 1, 2), expand=False)
    )


def _place(finding: Finding) -> tuple[str, str]:
    """``operator 7 CONV_2D``, and its name, which may be long."""
    what, _, name = finding.place.text.rpartition(" ")
    return what, name
