"""What an output has lost beyond rounding: values outside its range, constant channels, channels of few values.

Both are seen where figures over all elements hide them: scores that share their grid with coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, Grid

FEW, ENOUGH = 8, 64
"""Distinct values that a channel should have, and how many values of it must be seen before fewer are told."""
HALF = 0.5  # a step: what lies nearer is rounded to the end of the range
FIRST = 256  # values that are looked at before all of a channel are


@dataclass(frozen=True, slots=True)
class Seen:
    """The values of every channel, None for ``FEW`` and more; those of two parts of the data add up."""

    channels: tuple[frozenset[float] | None, ...]

    def __add__(self, other: Seen) -> Seen:
        both = zip(self.channels, other.channels, strict=True)
        return Seen(tuple(None if a is None or b is None else _kept(a | b) for a, b in both))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each channel has; ``FEW`` stands for as many and more."""
        return tuple(FEW if values is None else len(values) for values in self.channels)


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost of an output in some of the samples, of ``count`` values.

    ``outside``: reference's values that the grid cannot hold, by ``outside_steps`` at most; None without a grid.
    ``axis`` is that of the channels: the shortest but for the samples, the last of equals.
    """

    axis: int
    reference: Seen
    candidate: Seen
    count: int
    outside: int | None = None
    outside_steps: float | None = None

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.axis,
            self.reference + other.reference,
            self.candidate + other.candidate,
            self.count + other.count,
            None if self.outside is None or other.outside is None else self.outside + other.outside,
            None if self.outside_steps is None else max(self.outside_steps, other.outside_steps or 0.0),
        )

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.candidate.channels)

    @property
    def values(self) -> tuple[int, ...]:
        """How many distinct values the candidate has in each channel, ``FEW`` for more."""
        return self.candidate.counts

    @property
    def constant(self) -> tuple[int, ...]:
        """Channels that say one thing where the reference says several."""
        return self._with(1)

    @property
    def few(self) -> tuple[int, ...]:
        """Channels with fewer than ``FEW`` values where the reference has as many; the constant ones among them."""
        return self._with(FEW - 1)

    def _with(self, most: int) -> tuple[int, ...]:
        sides = zip(self.reference.counts, self.candidate.counts, strict=True)
        if self.count < ENOUGH * self.channels:
            return ()
        return tuple(i for i, (ours, theirs) in enumerate(sides) if ours > most >= theirs)


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of the channels of an output whose samples lie along axis 0."""
    lengths = [(length, -axis) for axis, length in enumerate(shape) if axis and length > 1]
    return -min(lengths)[1] if lengths else len(shape) - 1


def channels_of(values: Array, axis: int) -> Array:
    """``values`` as (channels, values of each)."""
    moved: Array = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


def losses_of(reference: Array, candidate: Array, grid: Grid | None) -> Losses:
    """What ``candidate`` has lost; both in real units, of one shape, samples along axis 0."""
    axis = channel_axis(candidate.shape)
    ours, theirs = (Seen(tuple(map(_few, channels_of(side, axis)))) for side in (reference, candidate))
    return Losses(axis, ours, theirs, reference.size, *_outside(reference, grid))


def _few(values: Array) -> frozenset[float] | None:
    found = np.unique(values[:FIRST])
    return _kept(frozenset((found if len(found) >= FEW else np.unique(values))[:FEW].tolist()))


def _kept(values: frozenset[float]) -> frozenset[float] | None:
    return values if len(values) < FEW else None


def _outside(reference: Array, grid: Grid | None) -> tuple[int | None, float | None]:
    """How many values the grid cannot hold, not even rounded, and by how many steps at most."""
    if grid is None:
        return None, None
    scale, zero_point = grid.params.along(reference.ndim)
    if not (scale > 0).all():  # of a damaged file
        return None, None
    low, high = INTEGER_RANGE[grid.dtype]
    codes = reference.astype(np.float64) / scale + zero_point
    beyond = np.maximum(low - codes, codes - high)
    return int(np.count_nonzero(beyond > HALF)), max(0.0, float(beyond.max()))
