"""What a page shows of two engines beyond figures: where the errors lie, which decisions moved, the worst samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.compare.confusion import Confusion, confusion_of
from quantdiff.compare.pairing import pair_outputs
from quantdiff.compare.pictures import Picture, pictures_of
from quantdiff.compare.step_histogram import StepHistogram, step_histogram
from quantdiff.load.data import Batch
from quantdiff.quant import Array, quantize
from quantdiff.trace import Grid, Trace, Value

WORST = 12


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
    both: list[Array] = [value.real.reshape(theirs.array.shape).astype(np.float64) for value in pair]
    a, b = both
    grid = theirs.grid or ours.grid
    scale = () if grid is None else grid.params.scale
    mine, other = decisions_of(a), decisions_of(b)
    confusion = None if mine is None or other is None else confusion_of(mine, other, a.shape[-1])
    histogram = step_histogram(b - a, scale[0]) if len(scale) == 1 else None
    return Evidence(reference, candidate, theirs.name, histogram, confusion, _worst((a, b), (mine, other), grid, batch))


def decisions_of(values: Array) -> Array | None:
    """The class of each sample, the first of equals; None where a sample is not one row of classes."""
    if values.size != len(values) * values.shape[-1] or values.shape[-1] < 2 or values.ndim < 2:  # noqa: PLR2004 (classes)
        return None
    decided: Array = values.reshape(len(values), -1).argmax(axis=1)
    return decided


def _worst(
    both: tuple[Array, Array], decided: tuple[Array | None, Array | None], grid: Grid | None, batch: Batch
) -> tuple[Sample, ...]:
    ends = both if grid is None else tuple(quantize(side.astype(np.float32), grid.params, grid.dtype) for side in both)
    differs = (ends[0] != ends[1]).reshape(len(both[0]), -1).any(axis=1)
    errors = np.abs(both[0] - both[1]).reshape(len(both[0]), -1).max(axis=1)
    first = np.argsort(np.where(differs, -errors, 1), kind="stable")[:WORST]
    found = [int(i) for i in first if differs[i]]
    matched = len(batch) == len(both[0])  # not where one invocation takes several samples
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
