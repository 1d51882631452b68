"""An interval of the reference's values and one of the error, and what functions make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.real_graph import Grid
from quantdiff.quant import Array

OUTWARD = 1e-9
"""Beside a double's 1.1e-16: room for sums of a million terms."""
ROUNDED = 0.5001
"""Steps that one rounding may be off."""
FINE, FAR = 1e-15, 1e6
"""Of a curve, what double may lose; a value at which the logistic function has long reached its end."""


@dataclass(frozen=True, slots=True)
class Span:
    """The reference's value is ``low`` … ``high``, the file's minus the reference's ``down`` … ``up``; real units."""

    low: Array
    high: Array
    down: Array
    up: Array


def monotone(span: Span, function: Callable[[Array], Array]) -> Span:
    """The exact images: values between those of the ends; the error ``f(x + e) - f(x)`` grows with ``e``.

    For one ``e`` it has a single peak over ``x``, where both slopes are equal: at ``-e / 2``, else at an end.
    """

    def change(error: Array) -> list[Array]:
        peak = np.clip(-error / 2, span.low, span.high)
        return [function(x + error) - function(x) for x in (span.low, peak, span.high)]

    low, high = function(span.low), function(span.high)
    room = FINE * np.maximum(np.abs(low), np.abs(high))
    return Span(low, high, np.min(change(span.down), axis=0) - room, np.max(change(span.up), axis=0) + room)


def above_others(span: Span, operator: Operator) -> Span:
    """What the logistic function takes to give a share of SOFTMAX: how far a value is above the others' log-sum-exp.

    That grows with each of the others, and by no more than the one of them that grows most.
    """
    beta = float(np.float32(cast(float, operator.options.get("beta", 1.0))))
    low, high, down, up = (beta * side for side in (span.low, span.high, span.down, span.up))
    return Span(
        low - others(high, np.logaddexp, -FAR),
        high - others(low, np.logaddexp, -FAR),
        down - others(up, np.maximum, -FAR),
        up - others(down, np.minimum, FAR),
    )


def others(values: Array, join: np.ufunc, nothing: float) -> Array:
    """By place along the last axis what ``join`` makes of all others; ``nothing`` where there are none."""
    edge = np.full((*values.shape[:-1], 1), nothing)
    before, behind = (np.concatenate([edge, some], axis=-1) for some in (values[..., :-1], values[..., :0:-1]))
    return np.asarray(join(join.accumulate(before, axis=-1), join.accumulate(behind, axis=-1)[..., ::-1]))


def one_side(span: Span, number: int, *, other: bool = False) -> Array:
    """One of the four; of what is taken away, the opposite one."""
    return (span.low, span.high, span.down, span.up)[number ^ 1 if other else number]


def clamped(span: Span, ends: tuple[float, float]) -> Span:
    """Both sides between the same ends: an error becomes smaller, never larger, and 0 where both are beyond."""
    low, high = ends
    if not np.isfinite(low) and not np.isfinite(high):
        return span
    before, after = (span.low + span.down, span.high + span.up), (span.low.clip(low, high), span.high.clip(low, high))
    inside = (span.low >= low) & (before[0] >= low) & (span.high <= high) & (before[1] <= high)
    down, up = np.minimum(span.down, 0), np.maximum(span.up, 0)
    down = np.maximum(down, before[0].clip(low, high) - after[1])
    up = np.minimum(up, before[1].clip(low, high) - after[0])
    return Span(*after, np.where(inside, span.down, down), np.where(inside, span.up, up))


def on_own(span: Span, own: Grid) -> Span:
    """The reference rounds and clips; the file's value stays where it is."""
    low, high = own.ends
    half = ROUNDED * own.scale
    ends = (span.low - half).clip(low, high), (span.high + half).clip(low, high)
    moved_up, moved_down = np.maximum(low - span.low, 0) + half, np.maximum(span.high - high, 0) + half
    return Span(*ends, span.down - moved_up, span.up + moved_down)


def outward(span: Span) -> Span:
    """Wider than what double arithmetic may have lost."""
    room = OUTWARD * 1e-3
    low, high, down, up = span.low, span.high, span.down, span.up
    return Span(low - room * abs(low), high + room * abs(high), down - room * abs(down), up + room * abs(up))


def at(arrays: Sequence[Array]) -> list[Span]:
    """Values that are known, without an error so far."""
    return [Span(x, x, np.zeros_like(x), np.zeros_like(x)) for x in (np.asarray(a, np.float64) for a in arrays)]
