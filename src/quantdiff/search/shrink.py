"""Make a list of things smaller as long as something still shows: bisection, then delta debugging.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002: ``minimal`` tries
complements alone, since a subset that shows is found by the bisection before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def window(items: Sequence[T], shows: Callable[[Sequence[T]], bool], fits: Callable[[Sequence[T]], bool]) -> list[T]:
    """The shortest beginning that shows, and of that the shortest end; about 2 log2(n) questions.

    ``items`` as a whole are known to show. Only what ``fits`` is tried: it costs nothing to ask.
    """
    ends = [k for k in range(1, len(items)) if fits(items[:k])] + [len(items)]
    end = ends[_first(len(ends), lambda i: shows(items[: ends[i]]))]
    starts = [k for k in range(end - 1, 0, -1) if fits(items[k:end])] + [0]
    return [*items[starts[_first(len(starts), lambda i: shows(items[starts[i] : end]))] : end]]


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """The first number for which it holds, if it holds for all behind; it does for the last one."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def minimal(items: Sequence[T], shows: Callable[[Sequence[T]], bool]) -> list[T]:
    """Some of ``items`` that show, of which none can be left out alone; all of them are known to show."""
    kept, parts = [*items], 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        rests = ([*kept[:at], *kept[at + size :]] for at in range(0, len(kept), size))
        smaller = next((rest for rest in rests if rest and shows(rest)), None)
        if smaller is not None:
            kept, parts = smaller, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(len(kept), 2 * parts)
    return kept
