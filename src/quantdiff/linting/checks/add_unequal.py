"""Sums of values in very different units."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value, scale

A_LOT = 16.0


@check("SCALE04", Severity.WARNING, Wiring)
def add_unequal(wiring: Wiring) -> Iterator[Found]:
    """The inputs of an ADD or SUB have needlessly different scales.

    With a factor of 16 or more, one input is four bits coarser than the other: its rounding drowns the finer one, whose
    precision is lost. One branch's range is unsettled or was calibrated on outliers, or the branches really differ in
    size; normalize them (batch norm on both), or look at the wider range with `quantdiff inspect`.
    """
    for node in wiring.nodes:
        if node.operator.op not in ("ADD", "SUB") or len(node.inputs) != BOTH:
            continue
        a, b = (_varying_scale(wiring, t) for t in node.inputs)
        if a and b and max(a, b) >= A_LOT * min(a, b):
            yield Found(wiring.operator(node), f"scales {a:.4g} and {b:.4g}, a factor of {max(a, b) / min(a, b):.3g}")


BOTH = 2
FILLED = ("FILL", "ZEROS_LIKE")


def _varying_scale(wiring: Wiring, tensor: Tensor | None) -> float | None:
    """The scale of a value that depends on the input; None for constants, stored or filled."""
    maker = wiring.producer(tensor)
    filled = maker is not None and maker.operator.op in FILLED
    return scale(tensor) if is_integer_value(tensor) and not filled else None
