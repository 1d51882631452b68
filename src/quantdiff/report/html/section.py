"""What a page is made of: sections with their plots, and tables that sort and filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading.

    ``plots`` are Bokeh's JSON items, ``graphs`` what ``graph.js`` draws; both name the elements to draw in.
    """

    anchor: str
    title: str
    html: Markup = field(repr=False)
    plots: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    graphs: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, and the number that its column is sorted by; text sorts by itself."""

    text: str
    order: float | None = None

    @property
    def is_number(self) -> bool:
        """True where the cell stands to the right."""
        return self.order is not None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; the first column names its row. ``plot`` is the name of a plot with a mark a row.

    ``sorts`` is False where the rows have an order that means something, and no other.
    """

    anchor: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    plot: str = ""
    sorts: bool = True
