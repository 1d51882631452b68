"""Do two values agree within what quantization can explain? Measured on a sample of their elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from quantdiff.flow import FlowValue
from quantdiff.load.data import Order, turned
from quantdiff.quant import INTEGER_RANGE, Array, Grid, dequantize, real_range

ELEMENTS_AT_MOST = 2**15  # of one value that are looked at
FLAT = 2.0  # steps: what varies less than this cannot be told from a constant by its integers


@dataclass(frozen=True, slots=True)
class Sample:
    """A place's values, samples along axis 0, and some of their elements in real units."""

    place: FlowValue
    values: Array
    elements: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one sample."""
        return self.values.shape[1:]

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return prod(self.shape)

    def turned(self, order: Order) -> Sample:
        """The same values with a sample's axes in another order."""
        return sample(self.place, turned(self.values, order))


def sample(place: FlowValue, values: Array) -> Sample:
    """Elements at places that depend on the shape alone, so that samples of equal size go together."""
    rows = values.reshape(len(values), -1)
    step = max(1, prod(rows.shape) // ELEMENTS_AT_MOST)
    chosen = rows.ravel()[:: step if step == 1 else step | 1]
    real = dequantize(chosen, place.quant) if place.quant is not None else chosen.astype(np.float32)
    return Sample(place, values, real)


@dataclass(frozen=True, slots=True)
class Agreement:
    """``distance``: RMS of the difference over the spread of the reference, 0 for equal, about 1.4 for others.

    ``flat``: neither side varies by more than a few steps, so the values refute but cannot confirm. ``unclipped``: the
    distance of values as they are, those beyond the candidate's integers too: of two that agree alike the nearer is it.
    ``order``: how the reference's axes were turned for it.
    """

    distance: float
    flat: bool
    unclipped: float = 0.0
    order: Order = ()


def agreement(reference: Sample, candidate: Sample) -> Agreement | None:
    """None for values of different size, or that are no numbers.

    What the candidate's integers cannot hold is clipped on both sides: saturation is no sign of strangers.
    """
    if reference.size != candidate.size or reference.elements.size != candidate.elements.size:
        return None
    grid = candidate.place.grid or reference.place.grid
    a, b = (clipped(each.elements, grid) for each in (reference, candidate))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    error, spread = _rms(a - b), float(min(a.std(), b.std()))
    whole = _rms(reference.elements.astype(np.float64) - candidate.elements)
    step = grid.params.scale[0] if grid is not None else 0.0
    if spread <= FLAT * step or spread == 0:
        yardstick = 4 * FLAT * step
        return Agreement(error / yardstick if step else float(error > 0), True, whole / yardstick if step else whole)
    return Agreement(error / spread, False, whole / spread)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def clipped(values: Array, grid: Grid | None) -> Array:
    """Values moved into the range of the grid, double."""
    values = values.astype(np.float64)
    if grid is None or grid.dtype not in INTEGER_RANGE:
        return values
    (low,), (high,) = real_range(grid.params, grid.dtype)
    return values.clip(low, high)


def samples(places: Mapping[int, FlowValue], values: Mapping[int, Array]) -> dict[int, Sample]:
    """Samples by key."""
    return {key: sample(places[key], array) for key, array in values.items() if array.size}
