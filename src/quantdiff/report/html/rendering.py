"""What a page is made of: sections, tables that sort and filter, and templates in which all is escaped."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from quantdiff.report.text.terminal import printable

PACKAGE = "quantdiff.report.html"


def render(template: str, **values: Any) -> Markup:
    """The template of that name, filled."""
    return Markup(_environment().get_template(template).render(**values))


def asset(name: str) -> Markup:
    """A file that stands beside the templates, as it is: our own style and script."""
    return Markup(files(PACKAGE).joinpath("templates", name).read_text(encoding="utf-8"))


def script_json(value: Mapping[str, Any] | Sequence[Any]) -> Markup:
    """JSON for the inside of a script element, where nothing in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def source_of(script: str) -> str:
    """What a Content-Security-Policy calls this very script."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["with_code"] = _with_code
    return environment


def _with_code(text: str) -> Markup:
    """What stands between backticks as code; all that could be markup is escaped before."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(printable(text)))))


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(str(value))


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
