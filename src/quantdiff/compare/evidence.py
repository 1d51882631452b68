"""What a page shows besides figures: histograms of steps, changed decisions, pictures of the worst samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.compare.layers.figures import StepHistogram, step_histogram
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, Trace, Value, quantize
from quantdiff.tally.stats import CLASSES_AT_LEAST

SHOWN = 20
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Confusion:
    """``counts[i][j]``: samples that the reference puts into class ``names[i]`` and the candidate into ``names[j]``.

    Of more than 20 classes only those with most changes have a name of their own; the last row and column are the
    others.
    ``changed`` counts the samples, of ``samples``, whose decision is another one, whatever their classes are called.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    changed: int
    samples: int


def confusion_of(reference: Array, candidate: Array, classes: int) -> Confusion:
    """Count pairs of decisions. Shapes: (samples,) each, class numbers below ``classes``."""
    changed = reference != candidate
    moved = np.bincount(reference[changed], minlength=classes) + np.bincount(candidate[changed], minlength=classes)
    most = np.argsort(-moved, kind="stable")[: SHOWN - 1]
    named = np.arange(classes) if classes <= SHOWN else np.sort(most[moved[most] > 0])
    places = np.full(classes, len(named))
    places[named] = np.arange(len(named))
    size = len(named) + (classes > SHOWN)
    counts = np.bincount(places[reference] * size + places[candidate], minlength=size * size).reshape(size, size)
    names = (*map(str, named.tolist()), *((OTHERS,) if classes > SHOWN else ()))
    return Confusion(names, tuple(map(tuple, counts.tolist())), int(np.count_nonzero(changed)), len(reference))


SMALLEST, LARGEST = 8, 96  # pixels a side: what is smaller is no image, what is larger is thinned out
CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels of 8 bits, row by row, channels last; ``channels`` is 1 (grey) or 3 (red, green, blue)."""

    height: int
    width: int
    channels: int
    pixels: bytes


def pictures_of(samples: Array, chosen: Sequence[int]) -> tuple[Picture, ...]:
    """The chosen samples as pictures, all on one scale from their smallest value to their largest; empty for no images.

    Shapes: (samples, height, width) or (samples, height, width, 1 or 3).
    """
    images = _as_images(samples)
    if images is None or not chosen:
        return ()
    every = max(1, -(-max(images.shape[1:3]) // LARGEST))
    shown = np.stack([np.asarray(images[i, ::every, ::every], np.float64) for i in chosen])
    low, high = float(shown.min()), float(shown.max())
    scaled = np.rint((shown - low) * (255 / (high - low)) if high > low else np.zeros_like(shown)).astype(np.uint8)
    height, width, channels = scaled.shape[1:]
    return tuple(Picture(height, width, channels, each.tobytes()) for each in scaled)


def _as_images(samples: Array) -> Array | None:
    """(samples, height, width, channels), or None."""
    images = samples[..., np.newaxis] if samples.ndim == 3 else samples  # noqa: PLR2004 (no axis of channels)
    if images.ndim != 4 or images.shape[3] not in CHANNELS or min(images.shape[1:3]) < SMALLEST:  # noqa: PLR2004
        return None
    return images


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
