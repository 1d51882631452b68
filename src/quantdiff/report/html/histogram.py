"""The errors of each output in steps of its grid, as a histogram."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, DataRange1d, NumeralTickFormatter, Range1d

from quantdiff.compare.evidence import Evidence
from quantdiff.compare.layers.drawing import StepHistogram
from quantdiff.compare.layers.figures import YARDSTICK
from quantdiff.report.html.plots import Plot, item, line, new_plot, quads, tip
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Cell, Section, Table

HEIGHT, FLOOR = 300, 0.5  # pixels; a logarithm has no 0: a bar begins at half an output


def histogram_section(evidence: Sequence[Evidence]) -> Section | None:
    """How large the errors are; None where no output lies on a grid."""
    found = [(each, each.histogram) for each in evidence if each.histogram is not None]
    if not found:
        return None
    entries = [
        {
            "evidence": each,
            "histogram": histogram,
            "target": f"histogram-{i}",
            "table": histogram_table(histogram, f"bars-{i}"),
        }
        for i, (each, histogram) in enumerate(found)
    ]
    html = render("histogram.html", entries=entries, yardstick=YARDSTICK)
    plots = tuple(item(histogram_plot(each), f"histogram-{i}") for i, (_, each) in enumerate(found))
    return Section("errors", "How large: errors in steps", html, plots)


def histogram_table(histogram: StepHistogram, anchor: str) -> Table:
    """The same figures for who cannot see or point."""
    rows = tuple((Cell(f"{c:.4g}"), Cell(f"{n:,}", n)) for c, n in _bars(histogram))
    return Table(anchor, "Errors by size", ("middle of the bar, steps", "outputs"), rows, sorts=False)


def _bars(histogram: StepHistogram) -> list[tuple[float, int]]:
    """Where there is something: the middle of each bin and its count."""
    return [(centre, count) for centre, count in zip(histogram.centres, histogram.counts, strict=True) if count]


def histogram_plot(histogram: StepHistogram) -> Plot:
    """A bar a bin on a logarithmic axis, with lines at ±1/√12 and at the measured root mean square."""
    bars = _bars(histogram)
    half = histogram.width / 2
    columns = {
        "centre": [centre for centre, _ in bars],
        "left": [centre - half for centre, _ in bars],
        "right": [centre + half for centre, _ in bars],
        "count": [count for _, count in bars],
        "text": [f"{count:,}" for _, count in bars],
    }
    reach = max(1.0, *(abs(centre) for centre, _ in bars)) + histogram.width
    plot = new_plot(
        HEIGHT,
        y_axis_type="log",
        x_range=Range1d(start=-reach, end=reach),
        y_range=DataRange1d(start=FLOOR),
        x_axis_label="candidate − reference, in steps",
        y_axis_label="outputs",
    )
    drawn = quads(plot, ColumnDataSource(columns), "accent", ("left", "right", "count", FLOOR))
    plot.add_tools(tip(("steps", "@centre{0.[0000]}"), ("outputs", "@text"), renderers=[drawn]))
    for place, dash, colour in ((YARDSTICK, "dashed", "text"), (histogram.rmse, "solid", "second")):
        for end in (-place, place):
            line(plot, end, "height", colour, dash)
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.ticker = [10**power for power in range(len(str(max(count for _, count in bars))))]
    plot.xgrid.visible = False
    return plot
