"""Standard output as ``rich`` writes it, with one difference: what is printed is text, whatever it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from quantdiff.report.plain import printable


class Terminal(Console):
    """A console on which names are text: no markup, no emoji, nothing that moves the cursor.

    ``in_a_file``: how wide it is where standard output is no terminal. The other options are those of ``Console``.
    """

    def __init__(self, *, in_a_file: int | None = None, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)
        if in_a_file is not None and not self.is_terminal:
            self.width = in_a_file

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as ``rich`` measures it and lays it out."""
        return super().render_str(_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of what is printed; only ``rich`` itself may steer the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(_lines(piece.text), piece.style)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
