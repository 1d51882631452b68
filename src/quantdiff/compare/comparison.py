"""Comparison: every figure between the outputs of two traces, for all outputs together and for each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from quantdiff.compare import metrics
from quantdiff.compare.pairing import pair_outputs
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, quantize
from quantdiff.trace import Grid, Trace, Value

TOLERANCE = 0.01  # of the original experiment: absolute, in real units


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one pair of arrays; None where one has no meaning.

    ``differing`` and ``max_steps`` count on the integer grid of the output, ``step`` is its scale in real units.
    """

    count: int
    passed: bool
    max_abs_error: float
    mean_abs_error: float
    max_relative_error: float | None
    not_close: float
    step: float | None
    differing: int | None
    max_steps: int | None
    sqnr_db: float
    cosine: float | None
    top1_agreement: float | None


@dataclass(frozen=True, slots=True)
class Output:
    """The figures of one output, and its name on both sides."""

    reference: str
    candidate: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two engines on the same samples. ``figures`` are those of all outputs taken together."""

    reference: str
    candidate: str
    tolerance: float
    figures: Figures
    outputs: tuple[Output, ...]
    notes: tuple[str, ...] = field(default=())


def compare(reference: Trace, candidate: Trace, tolerance: float = TOLERANCE, grids: Trace | None = None) -> Comparison:
    """Hold the outputs of two traces against each other.

    Steps are those of the candidate's grid, else of the reference's; ``grids`` lends its own where neither side
    has one (two float models beside the TFLite model made from them).

    Raises:
        NotComparable: the outputs do not fit each other, or hold NaN or infinity.
    """
    pairs, notes = pair_outputs(reference, candidate)
    lent = [b.grid for _, b in pair_outputs(reference, grids)[0]] if grids else [None] * len(pairs)
    arrays = [_arrays(a, b, grid) for (a, b), grid in zip(pairs, lent, strict=True)]
    outputs = tuple(
        Output(a.name, b.name, _figures((arrays_of_one,), tolerance))
        for (a, b), arrays_of_one in zip(pairs, arrays, strict=True)
    )
    return Comparison(reference.engine, candidate.engine, tolerance, _figures(tuple(arrays), tolerance), outputs, notes)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """One output on both sides: real values, and integers on one grid where there is one."""

    reference: Array
    candidate: Array
    steps: tuple[Array, Array] | None
    step: float | None


def _arrays(reference: Value, candidate: Value, lent: Grid | None) -> _Arrays:
    grid = candidate.grid or reference.grid or lent
    real = reference.real.reshape(candidate.array.shape), candidate.real
    if grid is not None:
        shaped = Value(reference.name, reference.array.reshape(candidate.array.shape), reference.quant)
        try:
            steps = on_grid(shaped, grid), on_grid(candidate, grid)
        except NotComparable as error:
            raise NotComparable(f"output {candidate.name}: {error}") from error
        scale = grid.params.scale
        return _Arrays(*real, steps, scale[0] if len(scale) == 1 else None)
    if all(value.array.dtype.kind in "iub" for value in (reference, candidate)):
        return _Arrays(*real, real, None)
    return _Arrays(*real, None, None)


def on_grid(value: Value, grid: Grid) -> Array:
    """The value as integers of ``grid``: its own where they are that already, else rounded and clipped."""
    if value.quant == grid.params and value.array.dtype.name == grid.dtype:
        return value.array
    return quantize(value.real, grid.params, grid.dtype)


def _figures(outputs: tuple[_Arrays, ...], tolerance: float) -> Figures:
    a = np.concatenate([metrics.checked(o.reference, o.candidate)[0].ravel() for o in outputs])
    b = np.concatenate([o.candidate.astype(np.float64).ravel() for o in outputs])
    share = metrics.not_close(a, b, tolerance)
    steps = [o.steps for o in outputs if o.steps is not None]
    complete = len(steps) == len(outputs)
    return Figures(
        count=a.size,
        passed=share == 0,
        max_abs_error=metrics.max_abs_error(a, b),
        mean_abs_error=metrics.mean_abs_error(a, b),
        max_relative_error=metrics.max_relative_error(a, b),
        not_close=share,
        step=outputs[0].step if len({o.step for o in outputs}) == 1 else None,
        differing=sum(metrics.differing(*pair) for pair in steps) if complete else None,
        max_steps=max(metrics.max_steps(*pair) for pair in steps) if complete else None,
        sqnr_db=metrics.sqnr_db(a, b),
        cosine=metrics.cosine(a, b),
        top1_agreement=_agreement(outputs),
    )


def _agreement(outputs: tuple[_Arrays, ...]) -> float | None:
    """Share of equal decisions over all outputs that decide, each decision counted once."""
    shares = [
        (share, o.reference.size // o.reference.shape[-1])
        for o in outputs
        if (share := metrics.top1_agreement(o.reference, o.candidate)) is not None
    ]
    decisions = sum(count for _, count in shares)
    return sum(share * count for share, count in shares) / decisions if shares else None
