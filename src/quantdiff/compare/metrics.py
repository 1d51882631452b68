"""The formula of every figure, from the stats of two arrays: plain functions, units in their names; each stands once.

``stats_of(reference, candidate)`` of ``quantdiff.tally.stats`` counts two arrays; stats of parts of the data add up.
Sums are exact and rounded once, so that no figure depends on the order of the samples.

And what an output has lost beyond rounding, which figures over all elements hide: values outside its range, constant
channels, channels of few values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import INTEGER_RANGE, Array, Grid
from quantdiff.tally.stats import Stats, counted


def mean_abs_error(stats: Stats) -> float:
    """Mean ``|reference − candidate|``, in real units."""
    return counted(stats.abs_error).over(stats.count)


def mean_error(stats: Stats) -> float:
    """Mean ``candidate − reference``, in real units."""
    return counted(stats.error).over(stats.count)


def rmse(stats: Stats) -> float:
    """Root of the mean ``(reference − candidate)²``, in real units."""
    return math.sqrt(stats.squared_error.over(stats.count))


def max_relative_error(stats: Stats) -> float | None:
    """Largest ``|reference − candidate| / |reference|`` where the reference is not 0; None if it is everywhere."""
    largest = counted(stats.max_relative_error)
    return None if largest == -math.inf else largest


def not_close(stats: Stats) -> float:
    """Share of values with ``|reference − candidate| > tolerance`` (absolute, in real units)."""
    return counted(stats.far) / stats.count


def sqnr_db(stats: Stats) -> float:
    """Signal-to-quantization-noise ratio in dB: ``10·log10(Σ reference² / Σ (reference − candidate)²)``.

    ``inf`` when the two are equal, ``-inf`` when the reference is 0 everywhere and the candidate is not.
    """
    signal, noise = float(stats.squared_reference), float(stats.squared_error)
    if noise == 0:
        return math.inf
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def cosine(stats: Stats) -> float | None:
    """Cosine of the angle between the two, as long vectors; None where one of them is 0 everywhere."""
    lengths = math.sqrt(float(stats.squared_reference)) * math.sqrt(float(stats.squared_candidate))
    return max(-1.0, min(1.0, float(stats.product) / lengths)) if lengths else None


def top1_agreement(stats: Stats) -> float | None:
    """Share of equal decisions: argmax over the last axis, the first of equals; None below two classes."""
    return counted(stats.agreeing) / stats.decisions if stats.decisions else None


def right_decisions(outputs: Array, labels: Array) -> int:
    """How many samples' largest output is the labelled class. Shapes: (samples, …, classes), (samples,).

    Raises:
        NotComparable: not one decision per label.
    """
    decisions = outputs.reshape(len(outputs), -1).argmax(axis=-1)
    if decisions.shape != labels.shape:
        raise NotComparable(f"{len(decisions)} decisions for {len(labels)} labels")
    return int(np.count_nonzero(decisions == labels))


def accuracy(outputs: Array, labels: Array) -> float:
    """Share of right decisions. Shapes: (samples, …, classes), (samples,).

    Raises:
        NotComparable: not one decision per label.
    """
    return right_decisions(outputs, labels) / len(labels)


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
