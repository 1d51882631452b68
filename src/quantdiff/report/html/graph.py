"""The graph of both models: what stands in its boxes, and the colours in which it can be seen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantdiff.compare.layers.drawing import Box, Drawing, Histograms, StepHistogram
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.text.terminal import NAME_AT_MOST, cropped, printable

NO_VALUE = "–"


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
