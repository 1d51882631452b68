"""The page of what moved between two results."""

from __future__ import annotations

from quantdiff.compare.moved import Moved, Movement
from quantdiff.report.html.document import assemble
from quantdiff.report.html.page import Page
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Cell, Section, Table
from quantdiff.report.html.verdict import Lead, Number
from quantdiff.report.text.moved import change, sentence, shown


def movement_page(found: Movement) -> Page:
    """One table, which sorts and filters."""
    title = f"{found.before} → {found.after}"
    columns = "figure", "of", "whose", "before", "after", "change"
    table = Table("moved-table", title, columns, tuple(map(_row, found.moved)))
    numbers = Number(f"{len(found.moved):,}", "figures moved"), Number(f"{found.same:,}", "are the same")
    about = tuple(f"{package} {before} → {after}" for package, before, after in found.versions)
    sections = [Section("moved", "What moved", render("moved.html", table=table))] if found.moved else []
    return assemble(Lead(title, sentence(found), numbers, about), sections)


def _row(each: Moved) -> tuple[Cell, ...]:
    sides = (Cell(shown(value), None if isinstance(value, str) else value) for value in (each.before, each.after))
    moved = each.change
    size = Cell(change(moved), None if moved is None else abs(moved))
    return Cell(each.figure), Cell(each.section), Cell(each.whose), *sides, size
