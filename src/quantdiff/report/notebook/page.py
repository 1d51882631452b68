"""Tables and lines of ``rich`` → HTML that a notebook shows; whatever they say stays text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from quantdiff.report.text.terminal import Table, Terminal, printable

WORDS = ("bold", "dim")
BAR = "█"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text, and the classes of its style: ``bold``, ``dim``, or a colour by name."""

    text: str
    classes: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A paragraph; one with line breaks keeps its columns."""

    spans: tuple[Span, ...]

    @property
    def is_block(self) -> bool:
        """Whether its columns count."""
        return any("\n" in span.text for span in self.spans)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; ``side`` is ``left`` or ``right``."""

    spans: tuple[Span, ...]
    side: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: a heading where there is one, and the rows."""

    heading: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def page(parts: Iterable[RenderableType]) -> str:
    """The HTML of all parts, one below the other; it needs no file and no network."""
    blocks = [block for part in parts for block in _blocks(part)]
    return _template().render(blocks=blocks)


@cache
def _template() -> Template:
    loader = PackageLoader("quantdiff.report.notebook", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("notebook.html")


def _blocks(part: RenderableType) -> Iterator[Line | Grid]:
    if isinstance(part, Group):
        yield from (block for inner in part.renderables for block in _blocks(inner))
    elif isinstance(part, Padding):
        yield from _blocks(part.renderable)
    elif isinstance(part, Table):
        yield _table(part)
    elif isinstance(part, RichTable):
        yield _grid(part)
    elif spans := _spans(part):
        yield Line(spans)


def _table(table: Table) -> Grid:
    """The words that explain a row are its last cell."""
    words = any(row.explained for row in table.rows)
    sides = ["right" if column.kind == "figure" else "left" for column in table.columns] + ["left"] * words
    headings = [column.heading for column in table.columns] + [table.words] * words
    heading = tuple(Cell(_spans(Text(text, "bold")), side) for text, side in zip(headings, sides, strict=True))
    rows = ([Text(cell, row.style) for cell in (*row.cells, *[row.explained] * words)] for row in table.rows)
    cells = (tuple(Cell(_spans(cell), side) for cell, side in zip(row, sides, strict=True)) for row in rows)
    return Grid(heading if any(headings) else (), tuple(cells))


def _grid(table: RichTable) -> Grid:
    sides = ["right" if column.justify == "right" else "left" for column in table.columns]
    columns = [[_spans(cell) for cell in column.cells] for column in table.columns]
    rows = tuple(
        tuple(Cell(spans, side) for spans, side in zip(row, sides, strict=True)) for row in zip(*columns, strict=True)
    )
    heading = tuple(Cell(_spans(column.header), side) for column, side in zip(table.columns, sides, strict=True))
    return Grid(heading if table.show_header and any(cell.spans for cell in heading) else (), rows)


@cache
def _console() -> Terminal:
    return Terminal(force_terminal=False)


def _spans(part: RenderableType) -> tuple[Span, ...]:
    """The pieces of one text, without line breaks at its ends; strings are text."""
    text = part if isinstance(part, Text) else _console().render_str(str(part))
    plain = text.plain
    first, last = len(plain) - len(plain.lstrip("\n")), len(plain.rstrip("\n"))
    whole = _console().get_style(text.style)
    pieces = text[first:last].render(_console())
    return tuple(_span(piece.text, whole + piece.style) for piece in pieces if piece.text)


def _span(text: str, style: Style) -> Span:
    classes = [word for word in WORDS if getattr(style, word)]
    if style.color is not None:
        classes.append(style.color.name)
    if text.strip(BAR) == "":
        classes.append("bar")
    return Span("\n".join(map(printable, text.split("\n"))), " ".join(classes))
