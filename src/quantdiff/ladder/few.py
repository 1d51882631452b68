"""The samples on which cures are predicted, and what becomes of the outputs there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.compare.comparison import compare
from quantdiff.ladder.attribution import named
from quantdiff.ladder.findings import Advice, Quality
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.switches import Switches
from quantdiff.ladder.targets import OutputGrids, on_grid
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid
from quantdiff.sim.device import Rules
from quantdiff.trace import Trace

BETTER_DB = 0.02
"""Of stored outputs: what counts as better."""


@dataclass(frozen=True, slots=True)
class Few:
    """The samples on which cures are predicted: what the reference and the file gave, and under which ``rules``.

    ``bare``: the outputs of the reference's graph without its own output grids, in the file's order. Shapes: (samples,
    elements).
    """

    rows: Batch
    reference: Trace
    candidate: Trace
    bare: Sequence[Array]
    rules: Rules | None


def rms_of(before: Sequence[Array], bare: Sequence[Array], grids: OutputGrids) -> float:
    """Of the error before the output's own grid, in steps."""
    runs = len(bare[0])
    error = beside(before, grids.units, runs) - beside(bare, grids.units, runs)
    return math.sqrt(float(np.square(error).mean()))


def stored_on(values: Array, grid: Grid | None) -> Array:
    """Integers of an output's grid; floats stay what they are where it has none, but counts in steps."""
    return values if grid is None or grid.is_lent else on_grid(values, grid)


def quality_of(stored: Sequence[Array], few: Few, grids: OutputGrids) -> Quality:
    """Outputs as integers of their grids, floats where there is none, by the formulas of ``diff``.

    What differs is another integer; of floats without a grid what is farther than the tolerance.
    """
    outputs = tuple(
        replace(
            own,
            array=y.reshape(own.array.shape),
            quant=grid.params if grid and y.dtype.kind in "iu" else None,
            grid=grid,
        )
        for own, y, grid in zip(few.candidate.outputs, stored, grids.grids, strict=True)
    )
    found = compare(few.reference, replace(few.candidate, outputs=outputs), grids.tolerance)
    each, whole = [output.figures for output in found.outputs], found.figures
    differing = sum(round(f.not_close * f.count) if f.differing is None else f.differing for f in each)
    return Quality(differing, whole.sqnr_db, whole.top1_agreement)


def advice_of(mechanism: str, change: str, now: Quality, then: Quality, few: Few) -> Advice:
    """What a change would do, on these samples."""
    return Advice(mechanism, change, now.differing, then.differing, "", len(few.rows), now, then)


def name_of(switches: Switches, move: Move) -> str:
    """``CONV_2D 3 (head)``."""
    operator, op, layer, tensor, _ = named(switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"
