"""``Summary`` as one HTML file that holds all it needs: box plots, and error against depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FactorRange
from bokeh.models.annotations.geometry import Whisker
from bokeh.palettes import Category20_20
from bokeh.plotting import figure
from bokeh.resources import INLINE

from quantdiff.experiment.summary import Rates, Summary
from quantdiff.report.plain import printable

WIDTH, ROW = 900, 22  # pixels


def study_page(summary: Summary) -> str:
    """The page: a box plot per model, then error against depth where there are several depths."""
    models = dict.fromkeys(each.engine.model for each in summary.rates)
    plots = [box_plot(model, [r for r in summary.rates if r.engine.model == model]) for model in models]
    dense = [each for each in summary.rates if each.depth is not None]
    if len({each.depth for each in dense}) > 1:
        plots.append(depth_plot(dense))
    return str(file_html(column(*plots), resources=INLINE, title="quantdiff: error rates of a study"))


def box_plot(model: str, rates: Sequence[Rates]) -> figure:
    """A box for each condition: whiskers to the extremes, the runs themselves as dots."""
    names = [label(each) for each in rates]
    plot = figure(
        title=f"{printable(model)}: error rate, {len(rates[0].rates)} runs",
        y_range=FactorRange(factors=names[::-1]),
        width=WIDTH,
        height=120 + ROW * len(names),
        toolbar_location=None,
    )
    boxes = {name: [getattr(each.box, name) for each in rates] for name in ("low", "lower", "median", "upper", "high")}
    source = ColumnDataSource({"name": names, **boxes})
    plot.add_layout(Whisker(base="name", lower="low", upper="high", dimension="width", source=source))
    for left, right in (("lower", "median"), ("median", "upper")):
        plot.hbar("name", 0.6, right, left, source=source, fill_color="#9ecae1", line_color="#08519c")
    values = [value for each in rates for value in each.rates]
    plot.scatter(values, [name for n, r in zip(names, rates, strict=True) for name in [n] * len(r.rates)], size=3)
    plot.xaxis.axis_label = "error rate on the test set"
    return plot


def depth_plot(rates: Sequence[Rates]) -> figure:
    """Mean error rates over the number of dense layers, a line for each condition, whiskers for the intervals."""
    plot = figure(title="error rate against depth, mean and 95 % interval", width=WIDTH, height=500)
    for colour, (name, line) in zip(Category20_20 * 5, _lines(rates), strict=False):
        columns = {
            "depth": [each.depth for each in line],
            "mean": [each.interval.mean for each in line],
            "low": [each.interval.low for each in line],
            "high": [each.interval.high for each in line],
        }
        source = ColumnDataSource(columns)
        plot.line("depth", "mean", source=source, color=colour, legend_label=name, line_width=2)
        plot.scatter("depth", "mean", source=source, color=colour, legend_label=name, size=6)
        plot.add_layout(Whisker(base="depth", lower="low", upper="high", source=source, line_color=colour))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "dense layers", "error rate on the test set"
    plot.xaxis.ticker = sorted({each.depth for each in rates if each.depth})
    plot.add_layout(plot.legend[0], "right")
    plot.legend.click_policy = "hide"
    return plot


def label(rates: Rates) -> str:
    """``ptq (train), xnnpack``; what runs in Keras is named by its condition alone."""
    runtime = rates.engine.engine.partition(":")[2]
    return f"{rates.engine.condition}, {runtime}" if runtime else rates.engine.condition


def _lines(rates: Sequence[Rates]) -> Iterator[tuple[str, list[Rates]]]:
    for name in dict.fromkeys(map(label, rates)):
        yield name, [each for each in rates if label(each) == name]
