"""A box plot in a line of text."""

from __future__ import annotations

from quantdiff.experiment.summary import Box

WIDTH = 40


def box_line(box: Box, low: float, high: float, width: int = WIDTH) -> str:
    """``├──▒▒┃▒───┤`` between ``low`` and ``high``: extremes, quartiles, median."""

    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1)) if high > low else 0

    left, first, middle, last, right = map(column, (box.low, box.lower, box.median, box.upper, box.high))
    line = [" "] * width
    line[left : right + 1] = "─" * (right + 1 - left)
    line[first : last + 1] = "▒" * (last + 1 - first)
    line[left], line[right] = ("├", "┤") if right > left else ("│", "│")
    line[middle] = "┃"
    return "".join(line)
