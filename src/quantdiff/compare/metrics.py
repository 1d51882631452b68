"""The formula of every figure, from the stats of two arrays: plain functions, units in their names; each stands once.

``stats_of(reference, candidate)`` of ``quantdiff.tally.stats`` counts two arrays; stats of parts of the data add up.
Sums are exact and rounded once, so that no figure depends on the order of the samples.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import Array
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
