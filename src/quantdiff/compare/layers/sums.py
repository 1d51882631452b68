"""What is kept of a pair of values while the data stream by: sums and extremes, nothing that grows with the data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import INTEGER_RANGE, Array, dequantize, quantize
from quantdiff.trace import Grid, Value


@dataclass(slots=True)
class Sums:
    """Over all elements so far. ``steps`` are differences of integers, candidate minus reference; squares are real.

    ``clipped`` counts reference values that the candidate's integers cannot hold, below and above; ``at_end`` counts
    the candidate's integers at the ends of their range. ``worst`` is the sample with the largest squared error.
    """

    count: int = 0
    differing: int = 0
    max_steps: int = 0
    steps: int = 0
    abs_steps: int = 0
    error: float = 0.0
    squared_error: float = 0.0
    squared_reference: float = 0.0
    squared_candidate: float = 0.0
    product: float = 0.0
    max_abs_error: float = 0.0
    clipped: list[int] = field(default_factory=lambda: [0, 0])
    at_end: list[int] = field(default_factory=lambda: [0, 0])
    reference_range: tuple[float, float] = (np.inf, -np.inf)
    candidate_range: tuple[float, float] = (np.inf, -np.inf)
    worst: tuple[float, int] = (-1.0, -1)

    def merge(self, other: Sums) -> None:
        """Add what another part of the data gave."""
        self.count += other.count
        self.differing += other.differing
        self.max_steps = max(self.max_steps, other.max_steps)
        self.steps += other.steps
        self.abs_steps += other.abs_steps
        self.error += other.error
        self.squared_error += other.squared_error
        self.squared_reference += other.squared_reference
        self.squared_candidate += other.squared_candidate
        self.product += other.product
        self.max_abs_error = max(self.max_abs_error, other.max_abs_error)
        self.clipped = [a + b for a, b in zip(self.clipped, other.clipped, strict=True)]
        self.at_end = [a + b for a, b in zip(self.at_end, other.at_end, strict=True)]
        self.reference_range = _joined(self.reference_range, other.reference_range)
        self.candidate_range = _joined(self.candidate_range, other.candidate_range)
        self.worst = max(self.worst, other.worst, key=lambda worst: (worst[0], -worst[1]))


def _joined(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])


def measure(reference: Value, candidate: Value, grid: Grid | None, first: int) -> Sums:
    """The sums of one slice, whose first sample has the number ``first``. Shapes: (samples, …), alike but for ones.

    Raises:
        NotComparable: shapes differ, NaN or infinity.
    """
    a, b = (_rows(value) for value in (reference, candidate))
    if a.shape != b.shape:
        raise NotComparable(f"shapes differ: {reference.array.shape} and {candidate.array.shape}")
    error = b - a
    squares = np.einsum("nk,nk->n", error, error)
    if not np.isfinite(squares).all():
        raise NotComparable(f"{reference.name} or {candidate.name} holds NaN or infinity")
    worst = int(squares.argmax())
    sums = Sums(
        count=a.size,
        error=float(error.sum()),
        squared_error=float(squares.sum()),
        squared_reference=float(np.vdot(a, a)),
        squared_candidate=float(np.vdot(b, b)),
        product=float(np.vdot(a, b)),
        max_abs_error=float(np.abs(error).max()),
        reference_range=(float(a.min()), float(a.max())),
        candidate_range=(float(b.min()), float(b.max())),
        worst=(float(squares[worst]), first + worst),
    )
    if grid is not None:
        _count_steps(sums, a, reference, candidate, grid)
    return sums


def _rows(value: Value) -> Array:
    real = value.array if value.quant is None else dequantize(value.array, value.quant)
    rows: Array = real.reshape(len(real), -1).astype(np.float64)
    return rows


def _count_steps(sums: Sums, a: Array, reference: Value, candidate: Value, grid: Grid) -> None:
    ours, theirs = (_integers(value, grid).reshape(len(a), -1).astype(np.int32) for value in (reference, candidate))
    steps = theirs - ours
    sums.differing, sums.steps = int(np.count_nonzero(steps)), int(steps.sum(dtype=np.int64))
    sums.abs_steps = int(np.abs(steps).sum(dtype=np.int64))
    sums.max_steps = int(np.abs(steps).max())
    low, high = INTEGER_RANGE[grid.dtype]
    sums.at_end = [int(np.count_nonzero(theirs == low)), int(np.count_nonzero(theirs == high))]
    scale, zero_point = grid.params.scale[0], grid.params.zero_point[0]
    ends = [(low - 0.5 - zero_point) * scale, (high + 0.5 - zero_point) * scale]
    sums.clipped = [int(np.count_nonzero(a < ends[0])), int(np.count_nonzero(a > ends[1]))]


def _integers(value: Value, grid: Grid) -> Array:
    if value.quant == grid.params and value.array.dtype.name == grid.dtype:
        return value.array
    return quantize(value.real, grid.params, grid.dtype)
