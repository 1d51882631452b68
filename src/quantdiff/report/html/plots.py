"""What all plots have in common; a tag such as ``fill_color:accent`` says which colour of the page a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, FactorRange, HoverTool, NumeralTickFormatter
from bokeh.models.annotations.arrows import TeeHead
from bokeh.models.annotations.geometry import Span, Whisker
from bokeh.models.glyphs import Quad
from bokeh.models.renderers import GlyphRenderer
from bokeh.palettes import Category10_10
from bokeh.plotting import figure

from quantdiff.experiment.summary import Rates
from quantdiff.report.text.terminal import printable

Plot = figure
FONT = "system-ui, sans-serif"
VALUE = "bk-tooltip-row-value"
HEADING = "color:#55606c"  # on white: the tip of Bokeh has one theme, and a paler blue
FADED = 0.35  # of what is not chosen while something is


def new_plot(height: int, **options: Any) -> Plot:
    """An empty plot as wide as the page, without tools; its script colours it for the reader's theme."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **options,
    )
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = FONT
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    return plot


def quads(plot: Plot, source: ColumnDataSource, colour: str, ends: tuple[Any, Any, Any, Any]) -> GlyphRenderer[Any]:
    """Filled rectangles, ``ends`` left, right, top and bottom, in a colour of the page."""
    left, right, top, bottom = ends
    tags = [f"fill_color:{colour}"]
    drawn = plot.quad(
        left, right, top, bottom, source=source, line_color=None, selection_fill_alpha=1, nonselection_fill_alpha=FADED
    )
    for glyph in (drawn.glyph, drawn.selection_glyph, drawn.nonselection_glyph):
        if isinstance(glyph, Quad):
            glyph.tags = tags
    return drawn


def line(plot: Plot, place: float, dimension: Literal["width", "height"], colour: str, dash: str) -> None:
    """A line across the plot: at ``place``, along ``dimension``."""
    tags = [f"line_color:{colour}"]
    plot.add_layout(Span(location=place, dimension=dimension, line_dash=dash, line_width=2, tags=tags))


def tip(*lines: tuple[str, str], **options: Any) -> HoverTool:
    """A hover tool; a line is a heading and a field, whose text Bokeh escapes."""
    rows = (
        f'<div><span style="{HEADING}">{name}</span> <span class="{VALUE}">{text}</span></div>' for name, text in lines
    )
    return HoverTool(tooltips="".join(rows), **options)


def item(plot: Plot, target: str) -> Mapping[str, Any]:
    """The plot as JSON, to be drawn in the element ``target``."""
    made: Mapping[str, Any] = json_item(plot, target=target)  # type: ignore[arg-type]
    return made


ROW, AROUND, DEPTH_HEIGHT, THICK = 26, 70, 420, 0.6  # pixels, and the share of a row that a box takes
RATE = "error rate on the test set"


def box_plot(rates: Sequence[Rates]) -> Plot:
    """A box for each condition: whiskers to the extremes, the runs themselves as dots."""
    names = [name_of(each) for each in rates]
    plot = new_plot(
        AROUND + ROW * len(names),
        y_range=FactorRange(factors=names[::-1]),
        x_range=DataRange1d(),
        x_axis_label=RATE,
    )
    boxes = {name: [getattr(each.box, name) for each in rates] for name in ("low", "lower", "median", "upper", "high")}
    texts = {f"{name}_text": [f"{value:.2%}" for value in values] for name, values in boxes.items()}
    source = ColumnDataSource({"name": names, **boxes, **texts})
    dark = ["line_color:text"]
    low, high = TeeHead(size=8, tags=dark), TeeHead(size=8, tags=dark)
    whisker = Whisker(base="name", lower="low", upper="high", dimension="width", source=source, tags=dark)
    whisker.lower_head, whisker.upper_head = low, high
    plot.add_layout(whisker)
    drawn = []
    for left, right in (("lower", "median"), ("median", "upper")):
        drawn.append(plot.hbar("name", THICK, right, left, source=source))
        drawn[-1].glyph.tags = ["fill_color:same", "line_color:accent"]
    values = [value for each in rates for value in each.rates]
    where = [name for name, each in zip(names, rates, strict=True) for _ in each.rates]
    dots = plot.scatter(values, where, size=4, line_color=None)
    dots.glyph.tags = ["fill_color:accent"]
    fields = {"": "@name", "lowest": "@low_text", "median": "@median_text", "highest": "@high_text"}
    plot.add_tools(tip(*fields.items(), renderers=drawn))
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]%")
    plot.ygrid.visible = False
    return plot


def depth_plot(rates: Sequence[Rates]) -> Plot:
    """Mean error rates over the number of dense layers, a line for each condition, whiskers for the intervals."""
    plot = new_plot(DEPTH_HEIGHT, x_axis_label="dense layers", y_axis_label=RATE)
    drawn = []
    for colour, (name, line) in zip(Category10_10 * 9, _lines(rates), strict=False):
        columns = {
            "depth": [each.depth for each in line],
            "mean": [each.interval.mean for each in line],
            "low": [each.interval.low for each in line],
            "high": [each.interval.high for each in line],
            "text": [f"{each.interval.mean:.2%}" for each in line],
            "name": [name for _ in line],
        }
        source = ColumnDataSource(columns)
        plot.line("depth", "mean", source=source, color=colour, legend_label=name, line_width=2)
        drawn.append(plot.scatter("depth", "mean", source=source, color=colour, legend_label=name, size=7))
        plot.add_layout(Whisker(base="depth", lower="low", upper="high", source=source, line_color=colour))
    plot.add_tools(tip(("", "@name"), ("dense layers", "@depth"), ("mean", "@text"), renderers=drawn))
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[00]%")
    plot.xaxis.ticker = sorted({each.depth for each in rates if each.depth})
    plot.add_layout(plot.legend[0], "below")
    plot.legend.click_policy = "hide"
    plot.legend.ncols, plot.legend.location = 2, "bottom_left"
    return plot


def name_of(rates: Rates) -> str:
    """``ptq (train), xnnpack``; what runs in Keras is named by its condition alone."""
    runtime = rates.engine.engine.partition(":")[2]
    return printable(f"{rates.engine.condition}, {runtime}" if runtime else rates.engine.condition)


def _lines(rates: Sequence[Rates]) -> Iterator[tuple[str, list[Rates]]]:
    for name in dict.fromkeys(map(name_of, rates)):
        yield name, [each for each in rates if name_of(each) == name]
