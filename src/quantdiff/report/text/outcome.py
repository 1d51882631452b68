"""What two engines differ by, and layer by layer: a table on a terminal, the same lines in a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from rich.table import Table as Grid
from rich.text import Text

from quantdiff.compare.comparison import FEW, Comparison, Figures, Output
from quantdiff.compare.layers.figures import YARDSTICK, LayerFigures
from quantdiff.compare.layers.report import WRONG_WEIGHTS, LayerReport, LayerResult
from quantdiff.compare.outcome import Outcome
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.load.data import order_name
from quantdiff.report.text.terminal import NO_VALUE, Column, Row, Table, Terminal, on_made_up, printable, short

NAMED, CHANNELS = 6, 100  # channels in a sentence, and rows of a table; JSON has them all


def print_outcome(outcome: Outcome, console: Terminal, *, unmatched: bool = False) -> None:
    """Print accuracies, a block per comparison, how the numbers came about; what is ``unmatched`` one by one."""
    for line in outcome.warnings:
        console.print(Text(line, style="yellow"), soft_wrap=True)
    if outcome.accuracy:
        console.print(_accuracies(outcome.accuracy))
    for comparison in outcome.comparisons:
        _print_comparison(comparison, outcome, console)
    for report in outcome.layers:
        print_layers(report, console, unmatched=unmatched)
    for line in _footer(outcome):
        console.print(Text(line, style="dim"), soft_wrap=True)


def _print_comparison(comparison: Comparison, outcome: Outcome, console: Terminal) -> None:
    console.print(_title(comparison, outcome.made_by, on_made_up(outcome.artifacts.get("data", ""))))
    for line in losses_text(comparison):
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)
    console.print(_block(comparison.figures))
    for own in comparison.own:
        console.print(Text(own_line(own)))
    for output in comparison.outputs if len(comparison.outputs) > 1 else ():
        console.print(_line(f"  output {output.candidate}", output.figures))
    for output in comparison.outputs:
        if output.channels and output.losses:
            console.print(
                Text(f"\nchannels of {short(output.candidate)}, along axis {output.losses.axis}"), soft_wrap=True
            )
            console.print(_channels(output))


def _accuracies(accuracy: Mapping[str, float]) -> Table:
    columns = Column("accuracy", "word"), *map(Column, accuracy)
    return Table(columns, (Row(("", *(f"{value:.4f}" for value in accuracy.values()))),))


def _title(comparison: Comparison, made_by: Mapping[str, object], on_made: str) -> Text:
    passed = comparison.figures.passed
    what = "".join(f"{made_by[key]}, " for key in ("model",) if key in made_by)
    seed = f"seed {made_by['seed']}, " if "seed" in made_by else ""
    return Text.assemble(
        ("\n" + f"{comparison.reference} vs {comparison.candidate}".upper(), "bold"),
        f"   {what}{seed}tolerance {comparison.tolerance:g}{on_made}: ",
        ("passed", "green") if passed else ("failed", "red"),
    )


def _block(figures: Figures) -> Grid:
    table = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    for _ in range(2):
        table.add_column()
        table.add_column(justify="right")
    for left, right in zip(in_units(figures), in_steps(figures), strict=True):
        table.add_row(*left, *right)
    return table


def own_line(own: OwnFigure) -> str:
    """``accuracy: 0.981 in the reference, 0.979 in the candidate: -0.002``."""
    return (
        f"{own.name}: {own.reference:.6g} in the reference, {own.candidate:.6g} in the candidate: {own.difference:+.4g}"
    )


def in_units(figures: Figures) -> Iterator[tuple[str, str]]:
    """Names and texts of the figures in real units."""
    yield "max error", f"{figures.max_abs_error:.6g}"
    yield "max relative error", _number(figures.max_relative_error, ".6g")
    yield "mean error", f"{figures.mean_abs_error:.6g}"
    yield "outputs not close", f"{figures.not_close:.3%} of {figures.count:,}"
    yield "same top-1 decision", _number(figures.top1_agreement, ".3%")


def in_steps(figures: Figures) -> Iterator[tuple[str, str]]:
    """Names and texts of the figures on the integer grid, and of the ratios."""
    yield "differ as integers", _number(figures.differing, ",")
    yield "largest difference", "–" if figures.max_steps is None else _steps(figures.max_steps)
    yield "one step", _number(figures.step, ".6g")
    yield "SQNR", f"{figures.sqnr_db:.2f} dB"
    yield "cosine", _number(figures.cosine, ".6f")


def _line(name: str, figures: Figures) -> Text:
    steps = "" if figures.differing is None else f", {figures.differing:,} differ, at most {_steps(figures.max_steps)}"
    return Text(f"{name}: max error {figures.max_abs_error:.6g}, not close {figures.not_close:.3%}{steps}")


def losses_text(comparison: Comparison) -> Iterator[str]:
    """What the outputs have lost beyond rounding, a line each."""
    for output in comparison.outputs:
        lost, name = output.losses, short(output.candidate)
        if lost is not None and lost.outside:
            share = f"{lost.outside / lost.count:.3%} of the reference's values lie outside what {name} can say"
            yield f"lost: {share}, by up to {lost.outside_steps:,.4g} steps"
        if lost is not None and lost.few:
            where = ", ".join(map(str, lost.few[:NAMED])) + ", …" * (len(lost.few) > NAMED)
            constant = f", {len(lost.constant):,} of them one" if lost.constant else ""
            of = f"{len(lost.few):,} of {lost.channels:,} channels of {name}"
            yield f"lost: {of} have fewer than {FEW} distinct values{constant}: {where}"


def channel_rows(output: Output) -> tuple[tuple[str, ...], list[list[tuple[str, float]]]]:
    """Columns, and a row a channel: texts, each with the number that it stands for; the lowest SQNR first."""
    values = output.losses.values if output.losses else ()
    rows: list[list[tuple[str, float]]] = [
        [
            (f"{i}", i),
            (f"{each.sqnr_db:.2f}", each.sqnr_db),
            (f"{each.max_abs_error:.6g}", each.max_abs_error),
            (_number(each.max_steps, ","), -1 if each.max_steps is None else each.max_steps),
            (_number(each.differing, ","), -1 if each.differing is None else each.differing),
            (f"{many}" if many < FEW else f"{FEW} or more", many),
        ]
        for i, (each, many) in enumerate(zip(output.channels, values, strict=True))
    ]
    rows.sort(key=lambda row: row[1][1])
    return ("channel", "SQNR dB", "max error", "steps", "differ", "values"), rows


def _channels(output: Output) -> Table:
    names, found = channel_rows(output)
    rows = [Row(tuple(text for text, _ in row)) for row in found[:CHANNELS]]
    if len(found) > CHANNELS:
        rows.append(Row((f"… {len(found) - CHANNELS} more", *[""] * 5)))
    return Table(tuple(map(Column, names)), tuple(rows))


def _steps(count: int | None) -> str:
    return NO_VALUE if count is None else f"{count:,} step" + ("" if count == 1 else "s")


def _number(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else format(value, form)


def _footer(outcome: Outcome) -> Iterator[str]:
    yield ""
    if outcome.comparisons and all(c.figures.differing is None for c in outcome.comparisons):
        yield "no integer grid at the output (float or dynamic range): nothing is counted in steps"
    yield from outcome.notes
    made_by, source = outcome.made_by, outcome.artifacts.get("data", "")
    if " (" in source or ".py:" in source:  # how they were made belongs to the figures
        yield f"data {source}"
    if "data" in made_by:
        yield f"data {made_by['data']}, {made_by['samples']:,} test samples"
    versions = made_by.get("versions")
    if isinstance(versions, Mapping):
        yield ", ".join(f"{name} {version}" for name, version in versions.items())


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


LAYERS_NAMED = 3
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
    if len(others) > LAYERS_NAMED:
        named = ", ".join(others[:LAYERS_NAMED])
        yield (
            f"the weights of {len(others):,} layers are not those of the reference ({named}, …): it was trained "
            "further, or is another"
        )
    for layer in report.layers:
        told = [note for note in layer.notes if note != WRONG_WEIGHTS or len(others) <= LAYERS_NAMED]
        if told:
            yield f"{short(layer.reference)}: {', '.join(told)}"
    orders = Counter(layer.order for layer in report.layers if layer.order)
    for order, count in orders.items():
        which = [short(layer.reference) for layer in report.layers if layer.order == order]
        named = ", ".join((*which[:LAYERS_NAMED], *(["…"] if count > LAYERS_NAMED else [])))
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
