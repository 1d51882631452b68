"""Quantized dimensions that the tensor does not have."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity, counted
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring


@check("AXIS01", Severity.ERROR, Wiring)
def axis_outside(wiring: Wiring) -> Iterator[Found]:
    """A tensor's quantized dimension is none of its dimensions.

    Seen in older files, in biases of depthwise convolutions (3 of 1). LiteRT 2.3 refuses such a file
    (`quantized_dimension must be in range`); older runtimes and TFLM run it. Convert again, or set it to 0.
    """
    wrong = [t for t in wiring.graph.tensors if t.quant and t.shape and not 0 <= t.stored_axis < len(t.shape)]
    if wrong:
        evidence = f"dimension {wrong[0].stored_axis} of {len(wrong[0].shape)}; {counted(len(wrong), 'such tensor')}"
        yield Found(wiring.tensor(wrong[0]), evidence)
