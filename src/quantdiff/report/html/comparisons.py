"""All figures of all comparisons, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quantdiff.compare.comparison import Comparison, Figures, Output
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Cell, Section, Table
from quantdiff.report.text.outcome import NO_VALUE, channel_rows, in_steps, in_units, losses_text


def comparisons_section(comparisons: Sequence[Comparison], accuracy: Mapping[str, float]) -> Section:
    """A column a comparison, a row a figure; of several outputs each has a column too."""
    columns = [(f"{c.reference} → {c.candidate}", c.figures, _own(c)) for c in comparisons]
    columns += [
        (f"{c.reference} → {c.candidate}, output {output.candidate}", output.figures, {})
        for c in comparisons
        for output in c.outputs
        if len(c.outputs) > 1
    ]
    named = [{**dict(_rows(figures)), **own} for _, figures, own in columns]
    rows = tuple(
        (Cell(name), *(Cell(each.get(name, NO_VALUE)) for each in named)) for name in (named[0] if named else ())
    )
    table = Table(
        "figures-table", "Figures of every comparison", ("", *(name for name, *_ in columns)), rows, sorts=False
    )
    tolerance = comparisons[0].tolerance if comparisons else None
    lost = [(f"{c.reference} → {c.candidate}", line) for c in comparisons for line in losses_text(c)]
    channels = [
        channels_table(c, output, f"channels-{i}-{j}")
        for i, c in enumerate(comparisons)
        for j, output in enumerate(c.outputs)
        if output.channels and output.losses
    ]
    values = {"table": table, "accuracy": accuracy, "tolerance": tolerance, "lost": lost, "channels": channels}
    html = render("comparisons.html", **values)
    return Section("figures", "Figures", html)


def channels_table(comparison: Comparison, output: Output, anchor: str) -> Table:
    """A row a channel of an output, the lowest SQNR first."""
    names, rows = channel_rows(output)
    cells = tuple(tuple(Cell(text, float(order)) for text, order in row) for row in rows)
    axis = f"along axis {output.losses.axis}" if output.losses else ""
    title = f"{comparison.reference} → {comparison.candidate}: channels of {output.candidate}, {axis}"
    return Table(anchor, title, names, cells)


def _own(comparison: Comparison) -> dict[str, str]:
    """The user's own numbers: both sides and their difference."""
    return {own.name: f"{own.reference:.6g} → {own.candidate:.6g} ({own.difference:+.4g})" for own in comparison.own}


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "within the tolerance", "yes" if figures.passed else "no"
    yield from in_steps(figures)
    yield from in_units(figures)
