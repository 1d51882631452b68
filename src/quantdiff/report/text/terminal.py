"""Standard output as ``rich`` writes it, with one difference: what is printed is text, whatever it looks like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from textwrap import TextWrapper
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from quantdiff.report.plain import printable

WIDTH_IN_A_FILE = 160


class Terminal(Console):
    """A console on which names are text: no markup, no emoji, nothing that moves the cursor.

    Where standard output is no terminal it is as wide as ``COLUMNS`` says, or 160. The options are those of
    ``Console``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal and "width" not in options and not os.environ.get("COLUMNS", "").isdigit():
            self.width = WIDTH_IN_A_FILE

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as ``rich`` measures it and lays it out."""
        return super().render_str(_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of what is printed; only ``rich`` itself may steer the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(_lines(piece.text), piece.style)


INDENT = 8  # characters before what goes on from the line above
PIECES = re.compile(r"(?<=\S)(?= {2})")


def fitted(line: str, width: int) -> Iterator[str]:
    """A line on as many as it takes: new ones begin between pieces (two spaces or more), else between words.

    A word, such as a name, stays whole however long it is.
    """
    pieces = iter(PIECES.split(line))
    found = [next(pieces)]
    for piece in pieces:
        if cell_len(found[-1] + piece) <= width:
            found[-1] += piece
        else:
            found.append(" " * INDENT + piece.lstrip())
    words = TextWrapper(width, subsequent_indent=" " * INDENT, break_long_words=False, break_on_hyphens=False)
    for each in found:
        yield from words.wrap(each) if cell_len(each) > width else (each,)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
