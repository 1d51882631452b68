"""A layer report → tables for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.plain import printable

NO_VALUE = "–"
COLUMNS = ("op", "count", "differ", "max", "mean", "RMSE/scale", "SQNR dB", "cosine", "clipped low", "high")
LOCAL = ("differ", "max", "RMSE/scale", "SQNR dB")


def print_layers(report: LayerReport, console: Console) -> None:
    """Print a line per pair, then what to look at first, then what has no partner."""
    console.print(Text(f"\n{report.reference} vs {report.candidate}, layer by layer".upper(), style="bold"))
    if report.strangers:
        console.print(Text(f"these are not the same model: {report.strangers}", style="red"), soft_wrap=True)
        return
    console.print(_table(report))
    for line in (*_highlights(report), *_leftovers(report)):
        console.print(Text(printable(line)), soft_wrap=True)


def _table(report: LayerReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "op" else "right", no_wrap=True)
    for name in LOCAL:
        table.add_column(f"alone: {name}", justify="right")
    table.add_column("", overflow="fold")
    for layer in report.layers:
        table.add_row(*(escape(printable(cell)) for cell in _row(layer)))
    return table


def _row(layer: LayerResult) -> Iterator[str]:
    figures, local = layer.figures, layer.local
    yield layer.reference
    yield layer.op
    yield f"{figures.count:,}"
    yield _number(figures.differing, ",")
    yield _number(figures.max_steps, ",")
    yield _number(figures.mean_steps, "+.4f")
    yield _number(figures.rmse_steps, ".4f")
    yield _number(figures.sqnr_db, ".2f")
    yield _number(figures.cosine, ".6f")
    yield _number(figures.clipped_low, ".2%")
    yield _number(figures.clipped_high, ".2%")
    yield from _local(local)
    yield "; ".join(layer.notes)


def _local(figures: LayerFigures | None) -> Iterator[str]:
    if figures is None:
        yield from [NO_VALUE] * len(LOCAL)
        return
    yield _number(figures.differing, ",")
    yield _number(figures.max_steps, ",")
    yield _number(figures.rmse_steps, ".4f")
    yield _number(figures.sqnr_db, ".2f")


def _highlights(report: LayerReport) -> Iterator[str]:
    yield f"max, mean and RMSE/scale in steps; rounding alone gives RMSE/scale {YARDSTICK:.4f}"
    yield from report.notes
    if report.first_differing is not None:
        yield f"first difference: {report.layers[report.first_differing].reference}"
    if report.adds_most is not None:
        yield f"adds most by itself: {report.layers[report.adds_most].reference}"
    if report.worst_samples:
        worst = ", ".join(f"{each.sample} ({each.max_abs_error:.4g})" for each in report.worst_samples)
        yield f"worst samples (largest error): {worst}"
    if report.decided:
        yield f"decisions that flipped: {report.flipped:,} of {report.decided:,}"
    for flip in report.flips:
        yield f"  sample {flip.sample}: {flip.reference} → {flip.candidate}, margin {flip.margin:.4g}"


def _leftovers(report: LayerReport) -> Iterator[str]:
    for side, leftovers in (("reference", report.only_reference), ("candidate", report.only_candidate)):
        for each in leftovers:
            yield f"no partner ({side}): {each.name} {each.op}: {each.why}"


def _number(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)
