"""Values → text for a person: a table on a terminal, the same lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table as Grid
from rich.text import Text

from quantdiff.compare.comparison import Comparison, Figures, Output
from quantdiff.compare.metrics import FEW
from quantdiff.compare.outcome import Outcome
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.report.text.layers import print_layers
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, on_made_up, printable, short

NO_VALUE = "–"
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
