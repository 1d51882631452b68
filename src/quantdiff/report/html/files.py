"""What files say by themselves: the quantization parameters of both sides, and what lint found."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from quantdiff.linting.lint import LintReport
from quantdiff.parameters.quantizers import Parameters, Range, Row
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.files import summary
from quantdiff.report.text.params import COLUMNS, as_map, heading
from quantdiff.report.text.terminal import NO_VALUE


def parameters_section(parameters: Parameters) -> Section | None:
    """A row a quantizer: min and max in every way that they are known, scale and zero point; None without any."""
    if not parameters.rows:
        return None
    shown = tuple(name for name in COLUMNS if any(getattr(row, name) is not None for row in parameters.rows))
    ends = tuple(f"{heading(name, parameters)}, {end}" for name in shown for end in ("min", "max"))
    columns = ("quantizer", *ends, "scale", "zero point", "what explains it")
    table = Table(
        "parameters-table", "Min and max of every quantizer", columns, tuple(_row(r, shown) for r in parameters.rows)
    )
    lost = {"file": parameters.only_reference, "reference": parameters.only_tflite}
    html = render("parameters.html", table=table, parameters=parameters, shown=shown, lost=lost)
    return Section("parameters", "Quantization parameters", html)


def _row(row: Row, shown: tuple[str, ...]) -> tuple[Cell, ...]:
    ends = (cell for name in shown for cell in _ends(getattr(row, name)))
    scale = min(row.file.scale) if row.file is not None and row.file.scale else float("-inf")
    scale_text, zero_point = as_map(row)
    reasons = "; ".join(reason.text for reason in row.reasons)
    return Cell(row.name), *ends, Cell(scale_text, scale), Cell(zero_point), Cell(reasons)


def _ends(ends: Range | None) -> tuple[Cell, Cell]:
    """The outermost ends of all channels."""
    if ends is None:
        return Cell(NO_VALUE, float("-inf")), Cell(NO_VALUE, float("-inf"))
    low, high = min(ends.low), max(ends.high)
    return Cell(f"{low:.6f}", low), Cell(f"{high:.6f}", high)


def findings_section(report: LintReport) -> Section:
    """Every finding; those of one code together."""
    groups = [list(found) for _, found in groupby(report.findings, attrgetter("severity", "code"))]
    return Section("findings", "Known trouble", render("findings.html", groups=groups, summary=summary(report)))
