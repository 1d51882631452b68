"""A layer report → tables for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from rich.table import Table
from rich.text import Text

from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.plain import cropped, printable, short
from quantdiff.report.text.terminal import Terminal

NO_VALUE, WIDTH_IN_A_FILE = "–", 160
NAME_AT_LEAST, NAME_AT_ALL = 20, 8  # characters of a layer's name: before columns go to a table of their own, and there
GAP = 2  # between columns
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
STEPS, REALS = ("count", "differ", "max", "mean", "RMSE/scale"), (
    "SQNR dB", "cosine", "clipped low", "high", "min", "max "
)  # fmt: skip
ALONE = ("differ", "max", "mean", "RMSE/scale", "SQNR dB", "cosine")
OP = ("op",)
Which = Callable[[LayerResult], LayerFigures | None]
Ways = tuple[tuple[tuple[str, ...], ...], ...]
"""Ways to divide columns among tables: for each the columns of its tables."""
Cells = Mapping[str, list[str]]


def print_layers(report: LayerReport, console: Terminal) -> None:
    """Print what to look at first, every pair as it happens and alone, and what has no partner."""
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_IN_A_FILE)
    console.print(Text(f"\n{report.reference} vs {report.candidate}, layer by layer".upper(), style="bold"))
    if report.unrelated:
        console.print(Text(f"these are not the same model: {report.unrelated}", style="red"), soft_wrap=True)
        return
    _print_lines(highlights(report), console)
    console.print()
    ways: Ways = ((OP + STEPS + REALS,), (OP + STEPS, REALS), (STEPS, REALS))
    _print_tables(console, "layer", _cells(report, lambda layer: layer.figures), ways)
    if any(layer.local is not None for layer in report.layers):
        ways = (OP + ALONE,), (ALONE,), (ALONE[:4], ALONE[4:])
        _print_tables(console, "each layer alone", _cells(report, lambda layer: layer.local), ways)
    _print_lines((*_notes(report), *leftovers(report)), console)


def _print_lines(lines: Iterable[str], console: Terminal) -> None:
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)


def _cells(report: LayerReport, which: Which) -> Cells:
    """Every column as text; the names of the layers stand in the one without a heading."""
    cells = {"": [short(layer.reference) for layer in report.layers]}
    cells["op"] = [printable(layer.op) for layer in report.layers]
    for name, column in FIGURES.items():
        found = (which(layer) for layer in report.layers)
        cells[name] = [NO_VALUE if figures is None else _cell(*column(figures)) for figures in found]
    return cells


def _print_tables(console: Terminal, title: str, cells: Cells, ways: Ways) -> None:
    """The first way to divide the columns in which no figure is cut off, or the last one."""
    widths = {name: GAP + max(len(name.strip()), *map(len, column)) for name, column in cells.items()}
    room = console.width - min(widths[""] - GAP, NAME_AT_LEAST)
    fitting = (way for way in ways if max(sum(widths[name] for name in names) for names in way) <= room)
    for names in next(fitting, ways[-1]):
        console.print(_table(title, names, cells, console.width - sum(widths[name] for name in names)))
        console.print()


def _table(title: str, names: tuple[str, ...], cells: Cells, room: int) -> Table:
    """These columns; the names of the layers get the ``room`` that is left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    for name in names:
        table.add_column(name.strip(), justify="left" if name == "op" else "right", no_wrap=True)
    for layer, *row in zip(*(cells[name] for name in ("", *names)), strict=True):
        table.add_row(cropped(layer, max(room, NAME_AT_ALL)), *row)
    return table


def _cell(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)


def highlights(report: LayerReport) -> Iterator[str]:
    """What to look at first, a line each."""
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
    yield f"max, mean and RMSE in steps (of the scale); an error of rounding alone has RMSE/scale {YARDSTICK:.4f}"


def _notes(report: LayerReport) -> Iterator[str]:
    for layer in report.layers:
        if layer.notes:
            yield f"{short(layer.reference)}: {', '.join(layer.notes)}"


def leftovers(report: LayerReport) -> Iterator[str]:
    """What has no partner, and why, a line each."""
    for side, leftovers in (("reference", report.only_reference), ("candidate", report.only_candidate)):
        for each in leftovers:
            yield f"no partner ({side}): {short(each.name)} ({each.op}): {each.why}"
