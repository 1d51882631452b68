"""What explains a difference between a QAT range and the file's: one code from a short list, and its number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.explain.quantizers import Ends, Reason, Row
from quantdiff.load.layers import TrainedRange
from quantdiff.quant import Array

INITIAL = (-6.0, 6.0)  # where TFMOT's quantizers begin
SETTLED = 0.5  # share of the joined interval that range and data have in common
SAME_SCALE = 2e-6  # relative: batch norm's factor is float32 in the converter
VISIBLE = 1e-3  # steps
AVERAGED = "MovingAverageQuantizer"
RELUS = ("relu", "relu6")


def range_reasons(row: Row, trained: TrainedRange, activation: str) -> Iterator[Reason]:
    """For a row with a trained range: how the file's range comes about, then what is wrong with the range itself."""
    if row.file is None:
        yield Reason("no counterpart", "no counterpart in the file")
    else:
        yield _how(row)
    if any(ends == INITIAL for ends in zip(trained.low, trained.high, strict=True)):
        yield Reason("never trained", "never trained: still at −6 and 6")
    elif trained.quantizer == AVERAGED:
        yield from _unsettled(row, trained, activation)


def bias_reason(own: Array, stored: Array, scale: Array, *, folded: bool) -> Reason:
    """For a bias: float on one side, int32 on the other; ``scale`` fits both."""
    units = float(np.max(np.abs(own - stored) / scale))
    if units == 0:
        return Reason("equal", "equal")
    where = "folded batch norm, then " if folded else ""
    if units <= 0.5 + SAME_SCALE * float(np.max(np.abs(stored) / scale)) + VISIBLE:
        return Reason("int32 grid", f"{where}rounded to the int32 grid, off by ≤ {units:.2f} units")
    return Reason("range differs", f"{where}differs by up to {units:.4g} int32 units")


def _how(row: Row) -> Reason:
    assert row.file is not None
    assert row.direct is not None
    expected, direct = row.converter, row.folded or row.direct
    if expected is not None and _same(expected, row.file):
        moved = steps(direct, row.file)
        if row.folded is not None:
            return Reason("folded batch norm", "folded batch norm: range × |gamma/√(var+ε)|")
        if moved <= VISIBLE:
            return Reason("equal", "equal")
        return Reason("nudge only", f"nudge only, by {moved:.2f} steps")
    if len(row.file.scale) != len(direct.low):
        return Reason("range differs", f"range differs: {len(direct.low)} range(s), {len(row.file.scale)} in the file")
    return Reason("range differs", f"range differs by {steps(direct, row.file):.4g} steps")


def _same(expected: Ends, stored: Ends) -> bool:
    return (
        len(expected.scale) == len(stored.scale)
        and bool(np.allclose(expected.scale, stored.scale, rtol=SAME_SCALE, atol=0))
        and expected.zero_point == stored.zero_point
    )


def steps(a: Ends, b: Ends) -> float:
    """The largest distance between two ends of ``a`` and ``b``, in steps of ``b``."""
    distances = [np.abs(np.subtract(p, q)) for p, q in ((a.low, b.low), (a.high, b.high))]
    return float(np.max(np.maximum(*distances) / np.asarray(b.scale)))


def _unsettled(row: Row, trained: TrainedRange, activation: str) -> Iterator[Reason]:
    low, high = trained.low[0], trained.high[0]
    step = (high - low) / (2**trained.bits - 1)
    if activation in RELUS and low < -step / 2:
        wasted = -low / (high - low)
        yield Reason("not settled", f"moving average not settled: {wasted:.0%} of the codes lie below the ReLU")
        return
    seen = row.by_hand or row.keras
    if seen is None:
        return
    common = min(high, seen.high[0]) - max(low, min(seen.low[0], 0.0))
    joined = max(high, seen.high[0]) - min(low, seen.low[0], 0.0)
    if common < SETTLED * joined:
        ends = f"{seen.low[0]:.4g} … {seen.high[0]:.4g}"
        yield Reason("not settled", f"moving average not settled: the data reach {ends}")
