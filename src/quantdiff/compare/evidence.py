"""What a page shows of two engines beyond figures: where the errors lie, which decisions moved, the worst samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.align.outputs import pair_outputs
from quantdiff.compare.confusion import Confusion, confusion_of
from quantdiff.compare.pictures import Picture, pictures_of
from quantdiff.compare.step_histogram import StepHistogram, step_histogram
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, quantize
from quantdiff.tally.stats import CLASSES_AT_LEAST
from quantdiff.trace import Trace, Value

WORST, ELEMENTS_AT_ONCE = 12, 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its largest error (real units), what both sides decided, its label and picture where there are any.

    ``number`` counts the samples of the data, from 0.
    """

    number: int
    max_abs_error: float
    decisions: tuple[int, int] | None = None
    label: int | None = None
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One output of two engines; None where it lies on no integer grid, or decides nothing.

    ``worst`` are the samples with the largest errors, the largest first; those that are the same integers are left out.
    """

    reference: str
    candidate: str
    output: str
    histogram: StepHistogram | None
    confusion: Confusion | None
    worst: tuple[Sample, ...]


def evidence_of(reference: Trace, candidate: Trace, batch: Batch) -> tuple[Evidence, ...]:
    """One entry for each pair of outputs.

    Raises:
        NotComparable: the outputs do not fit each other.
    """
    pairs, _ = pair_outputs(reference, candidate)
    return tuple(_evidence(reference.engine, candidate.engine, pair, batch) for pair in pairs)


def _evidence(reference: str, candidate: str, pair: tuple[Value, Value], batch: Batch) -> Evidence:
    ours, theirs = pair
    grid = theirs.grid or ours.grid
    real: list[Array] = [value.real.reshape(theirs.array.shape) for value in pair]
    parts = partial(_parts, real[0], real[1])
    seen = [_look(a, b, grid) for a, b in parts()]
    errors, differs = (np.concatenate([each[i] for each in seen]) for i in (0, 1))
    mine, other = map(decisions_of, real)
    scale = () if grid is None else grid.params.scale
    histogram = step_histogram(lambda: (b - a for a, b in parts()), scale[0]) if len(scale) == 1 else None
    confusion = None if mine is None or other is None else confusion_of(mine, other, real[0].shape[-1])
    worst = _worst(errors, differs, (mine, other), batch)
    return Evidence(reference, candidate, theirs.name, histogram, confusion, worst)


def _parts(reference: Array, candidate: Array) -> Iterator[tuple[Array, Array]]:
    """Both sides as float64, some samples at once."""
    at_once = max(1, ELEMENTS_AT_ONCE // max(1, reference[:1].size))
    for start in range(0, len(reference), at_once):
        rows = slice(start, start + at_once)
        yield reference[rows].astype(np.float64), candidate[rows].astype(np.float64)


def _look(a: Array, b: Array, grid: Grid | None) -> tuple[Array, Array]:
    """For each sample its largest error, and whether anything differs: as integers where there is a grid."""
    ends = (a, b) if grid is None else tuple(quantize(side, grid.params, grid.dtype) for side in (a, b))
    return np.abs(a - b).reshape(len(a), -1).max(axis=1), (ends[0] != ends[1]).reshape(len(a), -1).any(axis=1)


def decisions_of(values: Array) -> Array | None:
    """The class of each sample, the first of equals; None where a sample is not one row of classes."""
    if values.ndim < 2 or values.shape[-1] < CLASSES_AT_LEAST or values.size != len(values) * values.shape[-1]:  # noqa: PLR2004 (samples, classes)
        return None
    decided: Array = values.reshape(len(values), -1).argmax(axis=1)
    return decided


def _worst(
    errors: Array, differs: Array, decided: tuple[Array | None, Array | None], batch: Batch
) -> tuple[Sample, ...]:
    first = np.argsort(np.where(differs, -errors, 1), kind="stable")[:WORST]
    found = [int(i) for i in first if differs[i]]
    matched = len(batch) == len(errors)  # not where one invocation takes several samples
    pictures = (pictures_of(next(iter(batch.arrays.values())), found) if matched else ()) or (None,) * len(found)
    labels = batch.labels if matched else None
    ours, theirs = decided
    return tuple(
        Sample(
            number,
            float(errors[number]),
            None if ours is None or theirs is None else (int(ours[number]), int(theirs[number])),
            None if labels is None else int(labels[number]),
            picture,
        )
        for number, picture in zip(found, pictures, strict=True)
    )
