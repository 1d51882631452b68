"""Standard output as ``rich`` writes it, with one difference: what is printed is text, whatever it looks like.

Progress shows on a terminal, nowhere else.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

NAME_AT_MOST = 300
"""Characters of a name in a table or a sentence; JSON has them all."""


def short(name: str) -> str:
    """The first path of a tensor's name, which names the last layer in it, cut where nobody would read it."""
    return printable(cropped(name.partition(";")[0], NAME_AT_MOST))


def cropped(name: str, room: int) -> str:
    """The end of a name that is too long: it tells a path from its neighbours, which begin alike."""
    return name if len(name) <= room else "…" + name[len(name) - room + 1 :]


def printable(text: str) -> str:
    """``text`` with every character that moves the cursor, or shows nothing, as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_text(document: Mapping[str, Any] | list[Any]) -> str:
    """One JSON document in ASCII: numbers never rounded, NaN and infinity as strings."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:  # there is one: walking over all numbers first would cost every document the time
        return json.dumps(_finite(document), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


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

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """As ``Console``. ``soft_wrap``: sentences, which break between words on a terminal and nowhere in a file."""
        if not (soft_wrap and self.is_terminal):
            super().print(*objects, soft_wrap=soft_wrap, **options)
            return
        for each in objects:
            for line in _wrapped(each, self.width):
                super().print(line, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as ``rich`` measures it and lays it out."""
        return super().render_str(_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of what is printed; only ``rich`` itself may steer the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(_lines(piece.text), piece.style)


INDENT = 8  # characters before what goes on from the line above
PIECES, WORDS = re.compile(r"(?<=\S)(?= {2})"), re.compile(r"\s*\S+")
COMMAND = re.compile(r"(^|: )(quantdiff|model-explorer|pip install) ")


def laid_out(text: str, width: int) -> str:
    """Lines of columns by hand, each on as many lines as it takes."""
    return "\n".join(each for line in text.split("\n") for each in fitted(line, width))


def fitted(line: str, width: int) -> Iterator[str]:
    """A line on as many as it takes: new ones begin between pieces (two spaces or more), else between words.

    A word, such as a name, stays whole however long it is, and so does a command, which people copy.
    """
    for number, (start, end) in enumerate(_spans(line, width)):
        yield " " * INDENT * bool(number) + line[start:end]


def _wrapped(words: str | Text, width: int) -> Iterator[Text]:
    """The same for words in their styles."""
    for line in (words if isinstance(words, Text) else Text(words)).split("\n", allow_blank=True):
        for number, (start, end) in enumerate(_spans(line.plain, width)):
            yield Text(" " * INDENT * bool(number)) + line[start:end]


def _spans(line: str, width: int) -> list[tuple[int, int]]:
    """From where to where the lines go; all but the first are indented."""
    if COMMAND.search(line):
        return [(0, len(line))]
    room, spans, at = width - INDENT, [(0, 0)], 0
    for piece in PIECES.split(line):
        for part in (piece,) if cell_len(piece.strip()) <= room else WORDS.findall(piece):
            start, indent = spans[-1][0], INDENT * (len(spans) > 1)
            fits = cell_len(line[start:at] + part) <= width - indent
            if not fits and (cell_len(part.strip()) <= room or at - start > INDENT):
                start = at + len(part) - len(part.lstrip())
                spans.append((start, start))
            at += len(part)
            spans[-1] = (start, at)
    return spans


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _nothing(stage: str, done: int, total: int) -> None:
    del stage, done, total


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function (stage, done, total) that draws on standard error while the block runs."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console  # noqa: PLC0415 (only where there is a terminal)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    # A descriptor of its own: native code's noise on descriptor 2 is silenced while it works.
    with os.fdopen(os.dup(2), "w") as terminal:
        columns = TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        # The rate of a whole hour: trials of a sweep come in bursts, minutes apart.
        with Progress(*columns, console=Console(file=terminal), transient=True, speed_estimate_period=3600) as bar:
            tasks: dict[str, TaskID] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage, total=total)
                bar.update(tasks[stage], completed=done)

            yield show
