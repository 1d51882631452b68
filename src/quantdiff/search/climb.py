"""Climb a function that can only be asked: finite differences in random blocks, many candidates in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import numpy as np

from quantdiff.quant import Array

Score = Callable[[Array], Array]
"""Points, shape (points, elements) → how high each is, shape (points,)."""
MOVES = (1.0, 0.25, 1 / 16)
"""How far a block goes in one step, of the way between the ends: first to the ends themselves."""
BLOCKS, FEWEST = 256, 8
ELEMENTS_AT_ONCE = 2**22
PATIENCE = 2
"""Rounds of all moves without a gain, each with other blocks, after which a point is a summit."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where points may be: inclusive ends. Shapes: (elements,) each."""

    low: Array
    high: Array


def climb(
    score: Score, start: Array, box: Box, until: float, rng: np.random.Generator
) -> Iterator[tuple[Array, float]]:
    """Points from ``start`` uphill, each with its height, the last one a summit; ``until`` is a time of ``monotonic``.

    One round asks what each of some random blocks of elements gains when it moves up or down, then moves the best
    ones together: as many as gain most. Shapes: (elements,).
    """
    point, best = start, float(score(start[None])[0])
    yield point, best
    without = 0
    while without < PATIENCE and monotonic() < until:
        gained = False
        for move in MOVES:
            while monotonic() < until:
                found, height = _round(score, point, best, box, move, rng)
                if height <= best:
                    break
                point, best, gained = found, height, True
                yield point, best
        without = 0 if gained else without + 1


def _round(
    score: Score, point: Array, best: float, box: Box, move: float, rng: np.random.Generator
) -> tuple[Array, float]:
    """The best that one round finds, and its height."""
    count = min(point.size, max(FEWEST, min(BLOCKS, ELEMENTS_AT_ONCE // (2 * point.size))))
    block = rng.integers(0, count, point.size) if count < point.size else np.arange(point.size)
    up, down = (np.clip(point + sign * move * (box.high - box.low), box.low, box.high) for sign in (1, -1))
    tried = np.concatenate([np.where(block == np.arange(count)[:, None], side, point) for side in (up, down)])
    heights = score(np.asarray(tried, point.dtype)).reshape(2, count)
    gains = heights.max(axis=0) - best
    order = [int(k) for k in np.argsort(-gains) if gains[k] > 0]
    if not order:
        return point, best
    upward = (heights[0] >= heights[1])[block]
    moved = np.where(upward, up, down)
    together = np.stack([np.where(np.isin(block, order[:some]), moved, point) for some in _sizes(len(order))])
    heights = score(np.asarray(together, point.dtype))
    first = int(heights.argmax())
    return np.asarray(together[first], point.dtype), float(heights[first])


def _sizes(count: int) -> Iterator[int]:
    """1, 2, 4, …, all."""
    some = 1
    while some < count:
        yield some
        some *= 2
    yield count
