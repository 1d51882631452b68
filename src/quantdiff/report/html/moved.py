"""The page of what moved between two results."""

from __future__ import annotations

import math

from quantdiff.compare.moved import Figure, Moved, Movement
from quantdiff.report.html.document import Page, assemble
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
    values = each.before, each.after
    words = any(isinstance(value, str) for value in values)
    sides = (Cell(shown(value), None if words else _order(value)) for value in values)
    size = Cell(change(each.change), -1.0 if each.change is None else abs(each.change))
    return Cell(each.figure), Cell(each.section), Cell(each.whose), *sides, size


def _order(value: Figure | None) -> float:
    """Where the row stands; what is missing comes last."""
    return -math.inf if value is None or isinstance(value, str) else float(value)
