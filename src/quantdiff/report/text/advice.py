"""Advice → text for a person."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from quantdiff.compare.comparison import Comparison
from quantdiff.ladder.advice.advised import Advised
from quantdiff.ladder.advice.search import Tried
from quantdiff.report.text.outcome import NO_VALUE
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, on_made_up, prepared_data, short

SHOWN = 15
"""Choices in the table; JSON has them all."""


def print_advice(found: Advised, console: Terminal) -> None:
    """Print the file's own figures, the set that is enough, and the choices by what they buy."""
    for note in found.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    on_made = on_made_up(found.artifacts.get("data", ""))
    console.print(Text(f"the file on {found.now.candidate}{on_made}: {_quality(found.now)}"), soft_wrap=True)
    if data := prepared_data(found.artifacts.get("data", "")):
        console.print(Text(f"{found.made_by.get('samples', '')} samples{data}", style="dim"), soft_wrap=True)
    for line in chosen_lines(found):
        console.print(Text(line), soft_wrap=True)
    if found.alone or found.chosen is None:
        console.print()
        console.print(_table(found))
    more = [f"… and {len(found.alone) - SHOWN} more: --json lists them"] if len(found.alone) > SHOWN else []
    for line in ("", *more, *last_lines(found)):
        console.print(Text(line), soft_wrap=True)


def _table(found: Advised) -> Table:
    own = [each.name for each in found.now.own]
    rows = [Row(("none: the file as it is", *cells(found.plain, found.plain)))]
    for each in found.alone[:SHOWN]:
        (choice,) = each.choices
        rows.append(Row((f"{short(choice.where)}: {choice.change}", *cells(each.then, found.plain))))
    figures = map(Column, ("SQNR", "gain", "differ", "same top-1", *own))
    return Table((Column("one change", "name"), *figures), tuple(rows))


def cells(then: Comparison, now: Comparison) -> Iterator[str]:
    """SQNR, gain, what differs, what is decided alike, and the user's own figures."""
    figures, gain = then.figures, then.figures.sqnr_db - now.figures.sqnr_db
    yield f"{figures.sqnr_db:.2f} dB"
    yield NO_VALUE if then is now or not math.isfinite(gain) else f"{gain:+.2f}"
    yield NO_VALUE if figures.differing is None else f"{figures.differing / figures.count:.1%}"
    yield NO_VALUE if figures.top1_agreement is None else f"{figures.top1_agreement:.2%}"
    yield from (f"{own.candidate:.5g}" for own in then.own)


def last_lines(found: Advised) -> Iterator[str]:
    """What is left to say: how many changes there are, and which files were written."""
    if found.complete and not found.considered:
        yield "nothing in this file can be kept finer: it has no grids, and no weights of its own"
    if found.considered > len(found.alone) and (found.alone or not found.complete):
        why = "those that promise most where they stand" if found.complete else "broken off"
        yield f"{len(found.alone)} of {found.considered} possible changes were measured: {why}"
    for what, path in found.files.items():
        yield f"{what}: {path}"
    if not found.complete:
        yield "broken off: this is the best so far, and no file was written"


def chosen_lines(found: Advised) -> list[str]:
    """What was chosen, and what comes of it; empty where nothing was asked."""
    return [] if found.chosen is None else [*_chosen(found, found.chosen)]


def _chosen(found: Advised, chosen: Tried) -> Iterator[str]:
    asked = " and ".join(map(str, found.until))
    count = len(chosen.choices)
    changes = f"{count} change" + "s" * (count != 1)
    if asked and not count and found.met:
        yield f"{asked} holds already: {found.proven}"
        return
    if asked:
        says = "is met by" if found.met else "is not met; nearest:"
        yield f"{asked} {says} {changes}" + (f" ({found.proven})" if found.proven else "")
    elif count:
        yield f"what helps, taken together: {changes}"
    for kind, some in groupby(sorted(chosen.choices, key=lambda c: c.change), key=lambda c: c.change):
        yield f"  {kind}: {', '.join(short(choice.where) for choice in some)}"
    yield f"predicted {_quality(chosen.then)}"
    if found.measured is not None:
        yield f"measured  {_quality(found.measured)} on {found.measured.candidate}"
        yield f"before    {_quality(found.now)}"


def _quality(comparison: Comparison) -> str:
    figures = comparison.figures
    parts = [f"SQNR {figures.sqnr_db:.2f} dB"]
    parts += [] if figures.differing is None else [f"{figures.differing:,} of {figures.count:,} differ"]
    parts += [] if figures.top1_agreement is None else [f"same top-1 {figures.top1_agreement:.2%}"]
    return ", ".join([*parts, *(f"{own.name} {own.candidate:.5g}" for own in comparison.own)])
