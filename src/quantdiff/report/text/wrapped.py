"""Lines too long for a terminal, on as many as they take: names and commands stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

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


def wrapped(words: str | Text, width: int) -> Iterator[Text]:
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
