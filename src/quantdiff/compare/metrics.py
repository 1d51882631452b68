"""How far two arrays lie apart: plain functions, units in their names; they refuse rather than repair.

``reference`` and ``candidate`` have the same shape and hold real values, or integer steps where the name says
so. Sums are exact and rounded once, so that no figure depends on the order of the samples.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.compare.exact_sums import exact_sum
from quantdiff.errors import NotComparable
from quantdiff.quant import Array

CLASSES_AT_LEAST = 2  # a decision needs two classes to choose from


def checked(reference: Array, candidate: Array) -> tuple[Array, Array]:
    """Both arrays as float64, once they are fit to be compared.

    Raises:
        NotComparable: shapes differ, nothing to compare, NaN or infinity.
    """
    if reference.shape != candidate.shape:
        raise NotComparable(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise NotComparable("nothing to compare: the outputs are empty")
    for side, array in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(array).all():
            raise NotComparable(f"the {side}'s output holds NaN or infinity; look for the layer that makes it")
    return reference.astype(np.float64), candidate.astype(np.float64)


def max_abs_error(reference: Array, candidate: Array) -> float:
    """Largest ``|reference − candidate|``, in real units."""
    reference, candidate = checked(reference, candidate)
    return float(np.abs(reference - candidate).max())


def mean_abs_error(reference: Array, candidate: Array) -> float:
    """Mean ``|reference − candidate|``, in real units."""
    reference, candidate = checked(reference, candidate)
    return exact_sum(np.abs(reference - candidate)).over(reference.size)


def max_relative_error(reference: Array, candidate: Array) -> float | None:
    """Largest ``|reference − candidate| / |reference|`` where the reference is not 0; None if it is everywhere."""
    reference, candidate = checked(reference, candidate)
    nonzero = reference != 0
    if not nonzero.any():
        return None
    return float((np.abs(reference - candidate)[nonzero] / np.abs(reference[nonzero])).max())


def not_close(reference: Array, candidate: Array, tolerance: float) -> float:
    """Share of values with ``|reference − candidate| > tolerance`` (absolute, in real units)."""
    reference, candidate = checked(reference, candidate)
    return float((np.abs(reference - candidate) > tolerance).mean())


def sqnr_db(reference: Array, candidate: Array) -> float:
    """Signal-to-quantization-noise ratio in dB: ``10·log10(Σ reference² / Σ (reference − candidate)²)``.

    ``inf`` when the two are equal, ``-inf`` when the reference is 0 everywhere and the candidate is not.
    """
    reference, candidate = checked(reference, candidate)
    return decibels(float(exact_sum(np.square(reference))), float(exact_sum(np.square(reference - candidate))))


def decibels(signal: float, noise: float) -> float:
    """``10·log10(signal / noise)`` with the two ends that ``sqnr_db`` names."""
    if noise == 0:
        return math.inf
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def cosine(reference: Array, candidate: Array) -> float | None:
    """Cosine of the angle between the two, as long vectors; None where one of them is 0 everywhere."""
    reference, candidate = checked(reference, candidate)
    sums = (exact_sum(product) for product in (reference * candidate, np.square(reference), np.square(candidate)))
    return cosine_of(*map(float, sums))


def cosine_of(product: float, signal: float, power: float) -> float | None:
    """The cosine from the sums of reference × candidate, reference² and candidate²."""
    lengths = math.sqrt(signal) * math.sqrt(power)
    return max(-1.0, min(1.0, product / lengths)) if lengths else None


def top1_agreement(reference: Array, candidate: Array) -> float | None:
    """Share of equal decisions: argmax over the last axis, the first of equals; None below two classes."""
    same = decisions(reference, candidate)
    return None if same is None else float(same.mean())


def decisions(reference: Array, candidate: Array) -> Array | None:
    """Where both sides decide alike, one entry a decision; None below two classes."""
    reference, candidate = checked(reference, candidate)
    if reference.ndim < CLASSES_AT_LEAST or reference.shape[-1] < CLASSES_AT_LEAST:
        return None
    same: Array = reference.argmax(axis=-1) == candidate.argmax(axis=-1)
    return same


def differing(reference: Array, candidate: Array) -> int:
    """How many integers are not the same; both arrays hold integers of one grid."""
    return int(np.count_nonzero(_step_difference(reference, candidate)))


def max_steps(reference: Array, candidate: Array) -> int:
    """Largest difference of two integers of one grid, in steps."""
    return int(np.abs(_step_difference(reference, candidate)).max())


def accuracy(outputs: Array, labels: Array) -> float:
    """Share of samples whose largest output is the labelled class. Shapes: (samples, …, classes), (samples,).

    Raises:
        NotComparable: not one decision per label.
    """
    decisions = outputs.reshape(len(outputs), -1).argmax(axis=-1)
    if decisions.shape != labels.shape:
        raise NotComparable(f"{len(decisions)} decisions for {len(labels)} labels")
    return float((decisions == labels).mean())


def _step_difference(reference: Array, candidate: Array) -> Array:
    checked(reference, candidate)
    if reference.dtype.kind not in "iub" or candidate.dtype.kind not in "iub":
        raise NotComparable(f"steps are counted on integers, not on {reference.dtype} and {candidate.dtype}")
    difference: Array = reference.astype(np.int64) - candidate.astype(np.int64)
    return difference
