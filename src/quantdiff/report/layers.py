"""A layer report → tables for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.plain import printable

NO_VALUE, WIDTH_IN_A_FILE = "–", 160
Column = Callable[[LayerFigures], tuple[float | None, str]]
FIGURES: Mapping[str, Column] = {
    "count": lambda f: (f.count, ","),
    "differ": lambda f: (f.differing, ","),
    "max": lambda f: (f.max_steps, ","),
    "mean": lambda f: (f.mean_steps, "+.4f"),
    "RMSE/scale": lambda f: (f.rmse_steps, ".4f"),
    "SQNR dB": lambda f: (f.sqnr_db, ".2f"),
    "cosine": lambda f: (f.cosine, ".6f"),
    "clipped low": lambda f: (f.clipped_low, ".2%"),
    "high": lambda f: (f.clipped_high, ".2%"),
    "min": lambda f: (f.candidate_min, ".4g"),
    "max ": lambda f: (f.candidate_max, ".4g"),
}
ALONE = ("differ", "max", "mean", "RMSE/scale", "SQNR dB", "cosine")


def print_layers(report: LayerReport, console: Console) -> None:
    """Print every pair as it happens and alone, then what to look at first and what has no partner."""
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_IN_A_FILE)
    console.print(Text(f"\n{report.reference} vs {report.candidate}, layer by layer".upper(), style="bold"))
    if report.strangers:
        console.print(Text(f"these are not the same model: {report.strangers}", style="red"), soft_wrap=True)
        return
    console.print(_table(report, "layer", tuple(FIGURES), lambda layer: layer.figures))
    if any(layer.local is not None for layer in report.layers):
        console.print()
        console.print(_table(report, "each layer alone", ALONE, lambda layer: layer.local))
    console.print()
    for line in (*highlights(report), *_notes(report), *leftovers(report)):
        console.print(Text(printable(line)), soft_wrap=True)


def _table(
    report: LayerReport, title: str, names: tuple[str, ...], which: Callable[[LayerResult], LayerFigures | None]
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, overflow="ellipsis", no_wrap=True)
    table.add_column("op", overflow="ellipsis", no_wrap=True)
    for name in names:
        table.add_column(name.strip(), justify="right", no_wrap=True)
    for layer in report.layers:
        figures = which(layer)
        cells = [NO_VALUE if figures is None else _cell(*FIGURES[name](figures)) for name in names]
        table.add_row(escape(short(layer.reference)), escape(printable(layer.op)), *cells)
    return table


def short(name: str) -> str:
    """The first path of a tensor's name, which names the last layer in it; a layer's name as it is."""
    return printable(name.partition(";")[0])


def _cell(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)


def highlights(report: LayerReport) -> Iterator[str]:
    """What to look at first, a line each."""
    yield f"max, mean and RMSE in steps (of the scale); an error of rounding alone has RMSE/scale {YARDSTICK:.4f}"
    yield from report.notes
    if report.first_differing is not None:
        yield f"first difference: {short(report.layers[report.first_differing].reference)}"
    if report.adds_most is not None:
        yield f"adds most by itself: {short(report.layers[report.adds_most].reference)}"
    if report.worst_samples:
        worst = ", ".join(f"{each.sample} ({each.max_abs_error:.4g})" for each in report.worst_samples)
        yield f"worst samples (largest error): {worst}"
    if report.decided:
        yield f"decisions that flipped: {report.flipped:,} of {report.decided:,}"
    for flip in report.flips:
        yield f"  sample {flip.sample}: {flip.reference} → {flip.candidate}, margin {flip.margin:.4g}"


def _notes(report: LayerReport) -> Iterator[str]:
    for layer in report.layers:
        if layer.notes:
            yield f"{short(layer.reference)}: {', '.join(layer.notes)}"


def leftovers(report: LayerReport) -> Iterator[str]:
    """What has no partner, and why, a line each."""
    for side, leftovers in (("reference", report.only_reference), ("candidate", report.only_candidate)):
        for each in leftovers:
            yield f"no partner ({side}): {short(each.name)} ({each.op}): {each.why}"
