"""The ladder as a waterfall: what still differs after each mechanism, and what came right there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, FactorRange, NumeralTickFormatter

from quantdiff.ladder.explanation import Explanation, Rung
from quantdiff.report.html.plots import Plot, item, new_plot, tip
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.account import WORDS
from quantdiff.report.text.explanation import sentence, warnings
from quantdiff.report.text.terminal import NO_VALUE, short

ROW, AROUND, THICK = 34, 60, 0.62  # pixels, pixels, share of a row
MOST_ROWS = 200


def waterfall_section(explanations: Sequence[Explanation]) -> Section:
    """Why: a waterfall and its table for each runtime, what was tried, and whether the account closes."""
    entries = [
        {
            "explanation": each,
            "sentence": sentence(each),
            "warnings": tuple(warnings(each)),
            "frontier": frontier_table(each, f"frontier-{i}"),
            "target": f"waterfall-{i}",
            "table": ladder_table(each, f"ladder-{i}"),
        }
        for i, each in enumerate(explanations)
    ]
    drawn = [(i, each.rungs) for i, each in enumerate(explanations) if each.differing]
    plots = tuple(item(waterfall(rungs), f"waterfall-{i}") for i, rungs in drawn)
    return Section("why", "Why: operator by operator", render("waterfall.html", entries=entries), plots)


def waterfall(rungs: Sequence[Rung]) -> Plot:
    """A bar a rung: what still differs in grey, and beside it what came right (or went wrong again)."""
    after = [rung.differing_after for rung in rungs]
    names = [rung.mechanism for rung in rungs]
    plot = new_plot(
        AROUND + ROW * len(rungs),
        y_range=FactorRange(factors=names[::-1]),
        x_range=DataRange1d(start=0),
        x_axis_label="outputs that still differ",
    )
    steps = [(name, left, right) for name, (right, left) in zip(names[1:], pairwise(after), strict=True)]
    bars = {
        "quiet": [(name, 0, right) for name, right in zip(names, after, strict=True)],
        "good": [(name, left, right) for name, left, right in steps if left < right],
        "bad": [(name, right, left) for name, left, right in steps if left > right],
    }
    for colour, ends in bars.items():
        source = ColumnDataSource(
            dict(zip(("name", "left", "right"), map(list, zip(*ends, strict=True)), strict=False))
        )
        drawn = plot.hbar("name", THICK, "right", "left", source=source, line_color=None) if ends else None
        if drawn is not None:
            drawn.glyph.tags = [f"fill_color:{colour}"]
    _add_tips(plot, rungs)
    plot.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.ygrid.visible = False
    return plot


def _add_tips(plot: Plot, rungs: Sequence[Rung]) -> None:
    """Bars that nobody sees, as wide as the plot: a row answers wherever it is pointed at."""
    columns = {
        "name": [rung.mechanism for rung in rungs],
        "words": [WORDS[rung.mechanism] for rung in rungs],
        "still": [_text(rung.differing_after) for rung in rungs],
        "resolved": [_text(rung.resolved) for rung in rungs],
    }
    widest = max((rung.differing_after for rung in rungs), default=0) or 1
    area = plot.hbar("name", 1, widest, 0, source=ColumnDataSource(columns), alpha=0)
    lines = ("exchanged", "@words"), ("still differ", "@still"), ("come right", "@resolved")
    plot.add_tools(tip(*lines, renderers=[area]))


def ladder_table(explanation: Explanation, anchor: str) -> Table:
    """The same in figures."""
    rows = tuple(
        (
            Cell(rung.mechanism),
            Cell(WORDS[rung.mechanism]),
            *map(_count, (rung.differing_after, rung.resolved, rung.max_steps)),
        )
        for rung in explanation.rungs
    )
    columns = "mechanism", "what is exchanged", "still differ", "come right", "largest, steps"
    return Table(anchor, f"The ladder on {explanation.runtime}", columns, rows)


def frontier_table(explanation: Explanation, anchor: str) -> Table | None:
    """Operator by operator what the error is made of; None where nothing was taken apart."""
    frontier = explanation.frontier
    if frontier is None or not frontier.items:
        return None
    rows = tuple(
        (
            Cell("" if item.operator is None else f"{item.operator} {item.op}"),
            Cell(short(item.layer)),
            Cell(item.mechanism),
            Cell(f"{item.share:.2%}", item.share),
            Cell(f"{item.power:.2%}", item.power),
            Cell(f"{item.rms_steps:.3g}", item.rms_steps),
            Cell(f"{item.max_steps:.3g}", item.max_steps),
        )
        for item in frontier.items[:MOST_ROWS]
    )
    columns = "operator", "layer", "mechanism", "share", "own power", "rms, steps", "largest, steps"
    return Table(
        anchor, f"What the error is made of on {explanation.runtime}, {frontier.samples} samples", columns, rows
    )


def _count(value: int | None) -> Cell:
    return Cell(_text(value), -1 if value is None else value)


def _text(value: int | None) -> str:
    return NO_VALUE if value is None else f"{value:,}"
