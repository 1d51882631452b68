"""A layer report → tables for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from rich.text import Text

from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures
from quantdiff.compare.layers.report import WRONG_WEIGHTS, LayerReport, LayerResult
from quantdiff.load.data import order_name
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, printable, short

NO_VALUE = "–"
Figure = Callable[[LayerFigures], tuple[float | None, str]]
FIGURES: Mapping[str, Figure] = {
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
NAMED = 3
"""Layers of one kind that a line names."""
ALONE = ("differ", "max", "mean", "RMSE/scale", "SQNR dB", "cosine")
Which = Callable[[LayerResult], LayerFigures | None]


def print_layers(report: LayerReport, console: Terminal, *, unmatched: bool = False) -> None:
    """Print what to look at first, every pair as it happens and alone, and what has no partner, one by one if asked."""
    console.print(Text(f"\n{report.reference} vs {report.candidate}, layer by layer".upper(), style="bold"))
    if report.unrelated:
        console.print(Text(f"these are not the same model: {report.unrelated}", style="red"), soft_wrap=True)
        return
    _print_lines(highlights(report), console)
    console.print()
    console.print(_table("layer", FIGURES, report, lambda layer: layer.figures))
    console.print()
    if any(layer.local is not None for layer in report.layers):
        console.print(_table("each layer alone", ALONE, report, lambda layer: layer.local))
        console.print()
    _print_lines((*_notes(report), *(leftovers(report) if unmatched else _unmatched(report))), console)


def _print_lines(lines: Iterable[str], console: Terminal) -> None:
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)


def _table(title: str, names: Iterable[str], report: LayerReport, which: Which) -> Table:
    columns = Column(title, "name"), Column("op", "word"), *(Column(name.strip()) for name in names)
    return Table(columns, tuple(_row(layer, names, which(layer)) for layer in report.layers))


def _row(layer: LayerResult, names: Iterable[str], figures: LayerFigures | None) -> Row:
    cells = (NO_VALUE if figures is None else _cell(*FIGURES[name](figures)) for name in names)
    return Row((short(layer.reference), layer.op, *cells))


def _cell(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)


def highlights(report: LayerReport) -> Iterator[str]:
    """What to look at first, a line each."""
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
    others = [short(layer.reference) for layer in report.layers if WRONG_WEIGHTS in layer.notes]
    if len(others) > NAMED:
        named = ", ".join(others[:NAMED])
        yield (
            f"the weights of {len(others):,} layers are not those of the reference ({named}, …): it was trained "
            "further, or is another"
        )
    for layer in report.layers:
        told = [note for note in layer.notes if note != WRONG_WEIGHTS or len(others) <= NAMED]
        if told:
            yield f"{short(layer.reference)}: {', '.join(told)}"
    orders = Counter(layer.order for layer in report.layers if layer.order)
    for order, count in orders.items():
        which = [short(layer.reference) for layer in report.layers if layer.order == order]
        named = ", ".join((*which[:NAMED], *(["…"] if count > NAMED else [])))
        yield f"{order_name(order)} in {count:,} of {len(report.layers):,}: {named}"


def _unmatched(report: LayerReport) -> Iterator[str]:
    sides = ("reference", report.only_reference), ("candidate", report.only_candidate)
    counts = [f"{len(found):,} of the {side}" for side, found in sides if found]
    ends = [f"{len(report.notes):,} at the ends, compared before them"] if len(report.notes) > 1 else []
    yield from report.notes if len(report.notes) == 1 else ()
    if counts or ends:
        yield f"without a partner: {', '.join((*counts, *ends))}; --unmatched lists them and says why"


def leftovers(report: LayerReport) -> Iterator[str]:
    """What has no partner, and why, a line each."""
    yield from report.notes
    for side, leftovers in (("reference", report.only_reference), ("candidate", report.only_candidate)):
        for each in leftovers:
            yield f"no partner ({side}): {short(each.name)} ({each.op}): {each.why}"
