"""Standard output as ``rich`` writes it, with one difference: what is printed is text, whatever it looks like.

Tables fit any width: names give way from their beginning, figures never do, words that explain get their own line.
Progress shows on a terminal, nowhere else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

NO_VALUE = "–"
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


PREPARED = re.compile(r".+ \(.+\)", re.S)
"""What folders of images and sounds are called: how they were prepared stands in parentheses."""


def on_made_up(source: str) -> str:
    """`` on random data``, for a verdict; nothing for data of somebody."""
    from quantdiff.run.random_input import CALLED  # noqa: PLC0415 (NumPy, which an error does without)

    found = CALLED.fullmatch(source)
    return f" on {found[1]} data" if found else ""


def prepared_data(source: str) -> str:
    """`` of photos (scale=1/255)`` where data were prepared; nothing for what a file holds, or what is made up."""
    from quantdiff.run.random_input import CALLED  # noqa: PLC0415 (as above)

    return f" of {source}" if PREPARED.fullmatch(source) and not CALLED.fullmatch(source) else ""


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
            for line in wrapped(each, self.width):
                super().print(line, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as ``rich`` measures it and lays it out."""
        return super().render_str(_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of what is printed; only ``rich`` itself may steer the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(_lines(piece.text), piece.style)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _nothing(stage: str, done: int, total: int) -> None:
    del stage, done, total


GAP, INDENT = 2, 4  # characters between columns, and before words on a line of their own
NAME_AT_LEAST, NAMES_AT_LEAST, NAME_AT_ALL = 20, 48, 8
"""Characters of a name, and of all names of a row, before columns go to a table of their own; of a name there."""


HEADING_AT_MOST = 32


Kind = Literal["name", "word", "figure"]


@dataclass(frozen=True, slots=True)
class Column:
    """``name``: on the left, it gives way, and every part of the table has it; ``word``: on the left, whole.

    ``figure``: on the right, whole. ``least``: characters of a name, where other columns tell the row as well.
    """

    heading: str
    kind: Kind = "figure"
    least: int = NAME_AT_LEAST


@dataclass(frozen=True, slots=True)
class Row:
    """A cell for each column; ``explained`` in words; ``style`` as ``rich`` has them."""

    cells: tuple[str, ...]
    explained: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that lay themselves out for the console they are printed on.

    Where all columns do not fit beside each other, those that are left follow below, behind the names again.
    ``words`` is the heading of what explains a row: the last column where that fits on every line, else lines below.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    words: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The lines, none of them wider than the console."""
        del console
        widths = [max(cell_len(cell) for cell in column) for column in zip(*self._cells(), strict=True)]
        parts = _parts(self.columns, widths, options.max_width)
        for number, places in enumerate(parts):
            if number:
                yield Text()
            room = options.max_width - sum(widths[i] + GAP for i in places if self.columns[i].kind != "name")
            names = [i for i in places if self.columns[i].kind == "name"]
            shrunk = dict(zip(names, _shrunk([widths[i] for i in names], room), strict=True))
            part = [(i, shrunk.get(i, widths[i])) for i in places]
            yield from self._lines(part, options.max_width, explains=number == len(parts) - 1)

    def _cells(self) -> Iterator[tuple[str, ...]]:
        yield tuple(cropped(column.heading, HEADING_AT_MOST) for column in self.columns)
        yield from (tuple(map(printable, row.cells)) for row in self.rows)

    def _lines(self, part: Sequence[tuple[int, int]], width: int, *, explains: bool) -> Iterator[Text]:
        """The columns of one part with their widths; the last part has the words."""
        used = sum(GAP + room for _, room in part)
        words = [printable(row.explained) if explains else "" for row in self.rows]
        beside = used + max(map(cell_len, (*words, self.words)), default=0) <= width
        heading, *cells = self._cells()
        for i, room in part:
            if self.columns[i].kind == "name":
                names = _within([texts[i] for texts in cells], room)
                cells = [(*texts[:i], name, *texts[i + 1 :]) for texts, name in zip(cells, names, strict=True)]
        if any(heading):
            line = self._line(heading, part)
            yield _text(f"{line:{used}}{self.words}" if explains and beside and any(words) else line, "bold")
        for row, texts, explained in zip(self.rows, cells, words, strict=True):
            line = self._line(texts, part)
            yield _text(
                f"{line}{' ' * (used - cell_len(line))}{explained}" if beside and explained else line, row.style
            )
            if explained and not beside:
                yield from _below(explained, width)

    def _line(self, cells: Sequence[str], part: Sequence[tuple[int, int]]) -> str:
        return (" " * GAP).join(_placed(cells[i], room, self.columns[i].kind) for i, room in part)


def _parts(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[list[int]]:
    """The places of the columns of each part: as many as fit, the names in all of them."""
    names = [i for i, column in enumerate(columns) if column.kind == "name"]
    others = [i for i, column in enumerate(columns) if column.kind != "name"]
    widest = max((widths[i] for i in others), default=0)
    first = min([NAMES_AT_LEAST // max(len(names), 1), *(columns[i].least for i in names)])
    for least in (max(NAME_AT_ALL, first), NAME_AT_ALL):
        room = width - sum(min(widths[i], least) + GAP for i in names)
        if room >= widest:
            break
    parts = _split(others, widths, room)
    while room > widest and len(fewer := _split(others, widths, room - 1)) == len(parts):
        parts, room = fewer, room - 1  # parts of like widths leave the names more room
    return [sorted([*names, *part]) for part in parts]


def _split(places: Sequence[int], widths: Sequence[int], room: int) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for i in places:
        if parts[-1] and sum(widths[j] + GAP for j in parts[-1]) + widths[i] > room:
            parts.append([])
        parts[-1].append(i)
    return parts


def _shrunk(widths: Sequence[int], room: int) -> list[int]:
    """The widths of the names: the longest give way until all fit, or none is longer than it must be."""
    most = max(widths, default=0)
    while most > NAME_AT_ALL and sum(min(width, most) + GAP for width in widths) > room + GAP:
        most -= 1
    return [min(width, most) for width in widths]


def _within(names: Sequence[str], room: int) -> list[str]:
    """The ends of names; where these no longer tell them apart, without the parts of paths that all long ones share."""
    ends = [cropped(name, room) for name in names]
    long = {name for name in names if cell_len(name) > room}
    if len({*ends}) == len({*names}) or len(long) == 1:
        return ends
    shared = set.intersection(*({*name.split("/")} for name in long))
    return [cropped(_without(name, shared) if name in long else name, room) for name in names]


def _without(name: str, shared: Collection[str]) -> str:
    """``model/block_3/BatchNorm/kernel`` → ``…/block_3/…/kernel``."""
    kept = ("…" if part in shared else part for part in name.split("/"))
    return "/".join(part for part, _ in groupby(kept))


def _placed(cell: str, room: int, kind: Kind) -> str:
    cell = cropped(cell, room) if kind == "name" else cell
    missing = " " * (room - cell_len(cell))
    return missing + cell if kind == "figure" else cell + missing


def _below(words: str, width: int) -> Iterator[Text]:
    """Words on lines of their own; a name among them that is longer than a line gives way, too."""
    line = " " * INDENT
    for word in (cropped(each, width - INDENT) for each in words.split(" ")):
        if line.strip() and cell_len(line) + cell_len(word) > width:
            yield _text(line)
            line = " " * INDENT
        line += word + " "
    yield _text(line)


def _text(line: str, style: str = "") -> Text:
    return Text(line.rstrip(), style=style, no_wrap=True, overflow="ignore")


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


HANGING = 8  # characters before what goes on from the line above
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
        yield " " * HANGING * bool(number) + line[start:end]


def wrapped(words: str | Text, width: int) -> Iterator[Text]:
    """The same for words in their styles."""
    for line in (words if isinstance(words, Text) else Text(words)).split("\n", allow_blank=True):
        for number, (start, end) in enumerate(_spans(line.plain, width)):
            yield Text(" " * HANGING * bool(number)) + line[start:end]


def _spans(line: str, width: int) -> list[tuple[int, int]]:
    """From where to where the lines go; all but the first are indented."""
    if COMMAND.search(line):
        return [(0, len(line))]
    room, spans, at = width - HANGING, [(0, 0)], 0
    for piece in PIECES.split(line):
        for part in (piece,) if cell_len(piece.strip()) <= room else WORDS.findall(piece):
            start, indent = spans[-1][0], HANGING * (len(spans) > 1)
            fits = cell_len(line[start:at] + part) <= width - indent
            if not fits and (cell_len(part.strip()) <= room or at - start > HANGING):
                start = at + len(part) - len(part.lstrip())
                spans.append((start, start))
            at += len(part)
            spans[-1] = (start, at)
    return spans
