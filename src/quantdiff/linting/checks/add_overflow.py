"""Sums whose output scale is too small for the kernels."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value, scale

LEFT_SHIFT = 20
"""Bits that ``add.cc`` and ``sub.cc`` shift 8-bit inputs up."""


@check("MULT03", Severity.ERROR, Wiring)
def add_overflow(wiring: Wiring) -> Iterator[Found]:
    """The output scale of an ADD or SUB is so small that its multiplier exceeds 1.

    TFLite's kernels abort the whole process over it (`QuantizeMultiplierSmallerThanOneExp`). The output's range has
    collapsed: no calibration sample reached it, or min = max in training. Calibrate or train again.
    """
    for node in wiring.nodes:
        if node.operator.op not in ("ADD", "SUB") or not node.outputs:
            continue
        steps = [s for t in node.inputs if t and is_integer_value(t) and (s := scale(t))]
        out = scale(node.outputs[0])
        if steps and out and (multiplier := 2 * max(steps) / (out * 2**LEFT_SHIFT)) >= 1:
            yield Found(wiring.operator(node), f"multiplier {multiplier:.4g}, output scale {out:.4g}")
