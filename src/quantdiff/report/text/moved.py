"""What moved between two results, for the terminal."""

from __future__ import annotations

from quantdiff.compare.moved import Figure, Movement
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, printable


def print_movement(found: Movement, console: Terminal) -> None:
    """A sentence, then a row for each figure that is otherwise."""
    console.print(printable(sentence(found)), soft_wrap=True)
    for package, before, after in found.versions:
        console.print(f"{printable(package)}: {printable(before)} → {printable(after)}", soft_wrap=True)
    if found.moved:
        columns = (Column(heading, "name") for heading in ("section", "whose", "figure"))
        rows = tuple(
            Row((each.section, each.whose, each.figure, shown(each.before), shown(each.after), change(each.change)))
            for each in found.moved
        )
        console.print(Table((*columns, Column("before"), Column("after"), Column("change")), rows))


def sentence(found: Movement) -> str:
    """How many figures moved."""
    if not found.moved:
        return f"{found.before} → {found.after}: nothing moved, {found.same:,} figures are the same"
    return f"{found.before} → {found.after}: {len(found.moved):,} figures moved, {found.same:,} are the same"


def shown(figure: Figure | None) -> str:
    """A figure with as many digits as tell it from another; a dash where there is none."""
    if figure is None:
        return "–"
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    return figure if isinstance(figure, str) else f"{figure:,}" if isinstance(figure, int) else f"{figure:.6g}"


def change(difference: float | None) -> str:
    """With its sign; of counts every digit."""
    if difference is None:
        return ""
    return f"{difference:+,}" if isinstance(difference, int) else f"{difference:+,.4g}"
