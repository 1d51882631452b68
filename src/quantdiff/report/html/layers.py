"""Error per layer: a plot of all layers, the table that it is linked to, and the graph of both models in colours."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, Range1d, TapTool

from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures, StepHistogram
from quantdiff.compare.layers.report import Box, Drawing, Histograms, LayerReport, LayerResult
from quantdiff.report.html.plots import Plot, item, line, new_plot, quads, tip
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.outcome import FIGURES, highlights, leftovers
from quantdiff.report.text.terminal import NAME_AT_MOST, NO_VALUE, cropped, printable, short

HEIGHT, HALF = 320, 0.4  # pixels; width of a bar, in layers
AIR, LOWEST_TOP = 1.06, 0.01  # above the highest bar; steps: what is far below looks as small as it is
RMSE = "RMSE/scale"
SHOWN = ("differ", "max", "mean", "RMSE/scale", "SQNR dB", "clipped low", "high")
ALONE = ("differ", "RMSE/scale", "SQNR dB")
MOST_DRAWN = 1000  # layers


def layers_section(reports: Sequence[LayerReport]) -> Section:
    """Where: for each pair of engines a plot, what to look at first, the table, and what found no partner."""
    entries = [
        {
            "report": report,
            "target": f"layers-{i}",
            "views": views_of(report) if _drawn(report) else (),
            "remarks": [*highlights(report), *leftovers(report)],
            "table": layers_table(report, f"layers-{i}"),
        }
        for i, report in enumerate(reports)
    ]
    known = [(i, report) for i, report in enumerate(reports) if report.layers and not report.unrelated]
    plots = tuple(item(layers_plot(report, f"layers-{i}"), f"layers-{i}") for i, report in known)
    graphs = tuple(
        graph_data(report, report.drawing, f"graph-{i}", facts)
        for i, report in known
        if report.drawing is not None and _drawn(report)
    )
    return Section("where", "Where: layer by layer", render("layers.html", entries=entries), plots, graphs)


def _drawn(report: LayerReport) -> bool:
    """Whether its graph is drawn: what takes a minute to lay out, or does not fit the page, is not."""
    return report.drawing is not None and 0 < len(report.layers) <= MOST_DRAWN and not report.unrelated


def facts(layer: LayerResult) -> Iterator[tuple[str, str]]:
    """The figures of a layer by their names, as its row has them."""
    for name in SHOWN:
        alone = f", alone {_text(layer.local, name)}" if name in ALONE and layer.local is not None else ""
        yield _heading(name), _text(layer.figures, name) + alone


def layers_plot(report: LayerReport, name: str) -> Plot:
    """Two bars a layer, as it happens and alone: the root of the mean squared error, in steps."""
    figures = [(layer.figures, layer.local) for layer in report.layers]
    rmse = [[None if each is None else each.rmse_steps for each in side] for side in zip(*figures, strict=True)]
    places = range(1, len(report.layers) + 1)
    columns = {
        "place": list(places),
        "left": [place - HALF for place in places],
        "right": [place + HALF for place in places],
        "rmse": rmse[0],
        "rmse_alone": rmse[1],
        "layer": [short(layer.reference) for layer in report.layers],
        "op": [printable(layer.op) for layer in report.layers],
        **{name: [_text(each, key) for each, _ in figures] for name, key in (("happens", RMSE), ("differ", "differ"))},
        "alone": [_text(each, RMSE) for _, each in figures],
    }
    source = ColumnDataSource(columns, name=name)
    highest = max((value for side in rmse for value in side if value is not None), default=0.0)
    top = max(highest * AIR, LOWEST_TOP)
    ranges = {"x_range": Range1d(start=HALF, end=len(places) + 1 - HALF), "y_range": Range1d(start=0, end=top)}
    plot = new_plot(HEIGHT, **ranges, x_axis_label="layer", y_axis_label="RMSE, in steps")
    quads(plot, source, "accent", ("left", "place", "rmse", 0))
    quads(plot, source, "second", ("place", "right", "rmse_alone", 0))
    area = plot.vbar("place", 1, top, 0, source=source, alpha=0, nonselection_alpha=0)
    line(plot, YARDSTICK, "width", "text", "dashed")
    fields = {"layer": "@place @layer", "op": "@op", "RMSE": "@happens", "alone": "@alone", "differ": "@differ"}
    plot.add_tools(tip(*fields.items(), renderers=[area]), TapTool(renderers=[area]))
    plot.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
    plot.xgrid.visible = False
    return plot


def layers_table(report: LayerReport, anchor: str) -> Table:
    """A row a layer: its place, names, figures as it happens and alone, what was folded or fused."""
    alone = tuple(f"{name}, alone" for name in ALONE)
    columns = ("layer", "#", "op", *(_heading(name) for name in SHOWN), *alone, "notes")
    rows = tuple(_row(place, layer) for place, layer in enumerate(report.layers, start=1))
    title = f"{report.reference} → {report.candidate}: every layer as it happens, and alone"
    return Table(anchor, title, columns, rows, plot=anchor)


def _heading(name: str) -> str:
    return {"high": "clipped high", "max": "max, steps", "mean": "mean, steps"}.get(name, name)


def _row(place: int, layer: LayerResult) -> tuple[Cell, ...]:
    return (
        Cell(short(layer.reference)),
        Cell(str(place), place),
        Cell(layer.op),
        *(_cell(layer.figures, name) for name in SHOWN),
        *(_cell(layer.local, name) for name in ALONE),
        Cell(", ".join(layer.notes)),
    )


def _cell(figures: LayerFigures | None, name: str) -> Cell:
    value = None if figures is None else FIGURES[name](figures)[0]
    return Cell(_text(figures, name), float("-inf") if value is None else value)


def _text(figures: LayerFigures | None, name: str) -> str:
    if figures is None:
        return NO_VALUE
    value, form = FIGURES[name](figures)
    return NO_VALUE if value is None else format(value, form)


@dataclass(frozen=True, slots=True)
class View:
    """One way to colour the operators, in six shades from the least error to the largest.

    ``ends`` are the largest value of each shade but the last, of ``sign`` times the figure; ``legend`` says it.
    """

    name: str
    alone: bool
    figure: Callable[[LayerFigures], float | None]
    form: str
    ends: tuple[float, ...]
    legend: tuple[str, ...]
    sign: int = 1

    def value(self, layer: LayerResult) -> float | None:
        """What is shown of a layer."""
        figures = layer.local if self.alone else layer.figures
        return None if figures is None else self.figure(figures)

    def shade(self, layer: LayerResult) -> int | None:
        """0 … 5, None where the layer has no such figure."""
        value = self.value(layer)
        return None if value is None else bisect_left(self.ends, self.sign * value)

    def text(self, layer: LayerResult) -> str:
        """The figure, as short as a box wants it."""
        value = self.value(layer)
        return NO_VALUE if value is None else format(value, self.form)


def _clipped(figures: LayerFigures) -> float | None:
    low, high = figures.clipped_low, figures.clipped_high
    return None if low is None or high is None else low + high


STEPS = (0.0, 0.3, 0.6, 1.2, 2.5), ("0 steps", "≤ 0.3, as rounding alone", "≤ 0.6", "≤ 1.2", "≤ 2.5", "more")
DECIBELS = (-50.0, -40.0, -30.0, -20.0, -10.0), ("≥ 50 dB", "≥ 40", "≥ 30", "≥ 20", "≥ 10", "less")
SHARES = (0.0, 0.001, 0.01, 0.05, 0.2), ("none clipped", "≤ 0.1%", "≤ 1%", "≤ 5%", "≤ 20%", "more")
VIEWS = (
    View("error made here (RMSE, steps)", True, lambda f: f.rmse_steps, ".2f", *STEPS),
    View("error accumulated (RMSE, steps)", False, lambda f: f.rmse_steps, ".2f", *STEPS),
    View("SQNR of what is made here", True, lambda f: f.sqnr_db, ".1f", *DECIBELS, sign=-1),
    View("SQNR accumulated", False, lambda f: f.sqnr_db, ".1f", *DECIBELS, sign=-1),
    View("clipped", False, _clipped, ".2%", *SHARES),
)
"""An error of rounding alone has an RMSE of 1/√12 = 0.2887 steps."""


def views_of(report: LayerReport) -> tuple[View, ...]:
    """The views that have a figure for some layer."""
    return tuple(view for view in VIEWS if any(view.value(layer) is not None for layer in report.layers))


def graph_data(
    report: LayerReport, drawing: Drawing, target: str, facts: Callable[[LayerResult], Iterator[tuple[str, str]]]
) -> Mapping[str, Any]:
    """What the script draws in the element ``target``; ``facts`` are the figures of a layer, as its row has them."""
    none = (Histograms(),) * len(report.layers)
    return {
        "target": target,
        "reference": printable(report.reference),
        "candidate": printable(report.candidate),
        "boxes": [_box(box) for box in drawing.boxes],
        "feeds": drawing.feeds,
        "layers": [
            {"facts": [*facts(layer)], "notes": [*map(printable, layer.notes)], "bars": _bars(pair, drawing.samples)}
            for layer, pair in zip(report.layers, drawing.histograms or none, strict=True)
        ],
        "views": [
            {
                "legend": view.legend,
                "shades": [view.shade(layer) for layer in report.layers],
                "texts": [view.text(layer) for layer in report.layers],
            }
            for view in views_of(report)
        ],
    }


def _box(box: Box) -> dict[str, Any]:
    sides = [
        [[printable(op), printable(cropped(name, NAME_AT_MOST))] for op, name in s]
        for s in (box.reference, box.candidate)
    ]
    words = " ".join(word for side in sides for value in side for word in value).lower()
    why = f"no partner: {printable(box.why)}" if box.why else ""
    return {"reference": sides[0], "candidate": sides[1], "layer": box.layer, "why": why, "words": words}


def _bars(pair: Histograms, samples: int) -> dict[str, Any] | None:
    if pair.accumulated is None:
        return None
    sides = {"accumulated": pair.accumulated, "local": pair.local}
    own = "" if pair.local is None else f", made here {_reach(pair.local)}"
    words = f"Errors of {samples} samples, a logarithmic count: {_reach(pair.accumulated)} steps{own}"
    return {"words": words} | {
        name: None if h is None else {"first": h.first, "width": h.width, "counts": h.counts}
        for name, h in sides.items()
    }


def _reach(histogram: StepHistogram) -> str:
    low, *_, high = (histogram.first, *histogram.centres)
    return f"{low:.4g} ± {histogram.width / 2:g}" if low == high else f"{low:+.4g} … {high:+.4g}"
