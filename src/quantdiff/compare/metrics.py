"""How far two arrays lie apart: plain functions, units in their names; they refuse rather than repair.

``reference`` and ``candidate`` have the same shape and hold real values, or integer steps where the name says
so. Sums run in float64.
"""

from __future__ import annotations

import numpy as np

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
    return float(np.abs(reference - candidate).mean())


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
    signal, noise = np.square(reference).sum(), np.square(reference - candidate).sum()
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def cosine(reference: Array, candidate: Array) -> float | None:
    """Cosine of the angle between the two, as long vectors; None where one of them is 0 everywhere."""
    reference, candidate = checked(reference, candidate)
    lengths = np.linalg.norm(reference) * np.linalg.norm(candidate)
    if lengths == 0:
        return None
    return min(1.0, float(np.vdot(reference, candidate) / lengths))


def top1_agreement(reference: Array, candidate: Array) -> float | None:
    """Share of equal decisions: argmax over the last axis, the first of equals; None below two classes."""
    reference, candidate = checked(reference, candidate)
    if reference.ndim < CLASSES_AT_LEAST or reference.shape[-1] < CLASSES_AT_LEAST:
        return None
    return float((reference.argmax(axis=-1) == candidate.argmax(axis=-1)).mean())


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
