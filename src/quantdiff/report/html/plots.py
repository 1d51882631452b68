"""What all plots have in common; a tag such as ``fill_color:accent`` says which colour of the page a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations.geometry import Span
from bokeh.models.glyphs import Quad
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

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
