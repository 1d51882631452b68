"""What explains a difference between a QAT range and the file's: one code from a short list, and its number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.ops import TrainedRange
from quantdiff.parameters.quantizers import Range, Reason, Row
from quantdiff.quant import Array

INITIAL = (-6.0, 6.0)  # where TFMOT's quantizers begin
SETTLED = 0.5  # share of the joined interval that range and data have in common
SAME_SCALE = 2e-6  # relative: batch norm's factor is float32 in the converter
VISIBLE = 1e-3  # steps
AVERAGED = "MovingAverageQuantizer"
UNTRAINED = Reason("never trained", "never trained: still at −6 and 6")
OWN_RANGE = Reason("own range", "the range of the weights themselves")
SCALED = Reason("folded scale", "a scale of the inputs is folded in, channel by channel")
SLOPE = Reason("folded slope", "the slope of its activation is folded in")
OWN_FOLDED = "folded batch norm: quantized anew by the range of the folded weights"
RELUS = ("relu", "relu6")


LOST = Reason("no counterpart", "no counterpart in the file")


def range_reasons(row: Row, trained: TrainedRange, activation: str, shared: str | None) -> Iterator[Reason]:
    """For an activation's row: how the file's range comes about, then what is wrong with the range itself.

    ``shared`` is the operator that makes this tensor take its scale.
    """
    reason = _how(row, trained)
    if reason.code == "range differs" and shared:
        reason = Reason(reason.code, f"{reason.text}: it has the scale of its {shared}")
    yield reason
    if _is_initial(trained):
        yield UNTRAINED
    elif trained.quantizer == AVERAGED:
        yield from _unsettled(row, trained, activation)


def kernel_reasons(row: Row, trained: TrainedRange | None, own: Range | None) -> Iterator[Reason]:
    """For a kernel's row; ``own`` is the range that the weights themselves span, folded."""
    by_itself = own is not None and row.file is not None and _same(own, row.file)
    if trained is None:
        yield OWN_RANGE if by_itself else Reason("no counterpart", "no quantizer in the reference")
        return
    reason = _how(row, trained)
    if reason.code == "range differs" and by_itself:
        reason = Reason("folded batch norm", OWN_FOLDED) if row.folded is not None else OWN_RANGE
    yield reason
    if _is_initial(trained):
        yield UNTRAINED


def _is_initial(trained: TrainedRange) -> bool:
    return any(ends == INITIAL for ends in zip(trained.low, trained.high, strict=True))


def bias_reason(own: Array, stored: Array, scale: Array, *, folded: bool) -> Reason:
    """For a bias: float on one side, int32 on the other; ``scale`` fits both."""
    units = float(np.max(np.abs(own - stored) / scale))
    if units == 0:
        return Reason("equal", "equal")
    where = "folded batch norm, then " if folded else ""
    if units <= 0.5 + SAME_SCALE * float(np.max(np.abs(stored) / scale)) + VISIBLE:
        return Reason("int32 grid", f"{where}rounded to the int32 grid, off by ≤ {units:.2f} units")
    return Reason("range differs", f"{where}differs by up to {units:.4g} int32 units")


def _how(row: Row, trained: TrainedRange) -> Reason:
    """How the file's range comes from the variables; a symmetric quantizer that names its grid has made it of these."""
    if row.file is None:
        return LOST if row.tensor is None else Reason("no counterpart", "float in the file")
    assert row.direct is not None
    symmetric = trained.grid is not None and trained.narrow
    direct = (row.nudged if symmetric else row.folded) or row.direct
    if row.converter is not None and _same(row.converter, row.file):
        moved = steps(direct, row.file)
        if row.folded is not None:
            return Reason("folded batch norm", "folded batch norm: range × |gamma/√(var+ε)|")
        return (
            Reason("equal", "equal") if moved <= VISIBLE else Reason("nudge only", f"nudge only, by {moved:.2f} steps")
        )
    if len(direct.low) not in (1, len(row.file.scale)):
        return Reason("range differs", f"range differs: {len(direct.low)} ranges, {len(row.file.scale)} in the file")
    return Reason("range differs", f"range differs by {steps(direct, row.file):.4g} steps")


def _same(expected: Range, stored: Range) -> bool:
    return (
        len(expected.scale) == len(stored.scale)
        and bool(np.allclose(expected.scale, stored.scale, rtol=SAME_SCALE, atol=0))
        and expected.zero_point == stored.zero_point
    )


def steps(a: Range, b: Range) -> float:
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
