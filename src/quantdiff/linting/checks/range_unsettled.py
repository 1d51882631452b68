"""Moving averages that have hardly moved."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.reference import Range, Reference
from quantdiff.linting.registry import check

START, NEAR = 6.0, 0.6


@check("QAT02", Severity.WARNING, Reference)
def range_unsettled(reference: Reference) -> Iterator[Found]:
    """A range of the quantization-aware model is still close to its start of -6 to 6.

    TFMOT's moving averages go a thousandth of the way with each step: after 1,000 steps 37 % of the start is left,
    after 5,000 less than 1 %. The scale in the file is that of the start, not of the data. Train for more steps
    (smaller batches count), or begin with ranges from calibration.
    """
    for learned in reference.ranges():
        if not learned.of_weights and not learned.behind_relu and _is_near_start(learned):
            yield Found(learned.place, f"{learned.low:.4g} to {learned.high:.4g}")


def _is_near_start(learned: Range) -> bool:
    low, high = abs(learned.low + START), abs(learned.high - START)
    return max(low, high) <= NEAR and (low, high) != (0, 0)
