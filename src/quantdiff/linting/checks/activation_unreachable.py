"""Codes that an activation can never give."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, scale, zero_point
from quantdiff.quant import INTEGER_RANGE
from quantdiff.sim.node import ACTIVATION_RANGE, Node

TOLERATED = 0.05


@check("RANGE02", Severity.WARNING, Wiring)
def activation_unreachable(wiring: Wiring) -> Iterator[Found]:
    """The output range goes beyond what the activation can give.

    A ReLU gives nothing below 0, a ReLU6 nothing above 6: codes for such values are lost, and the rest is coarser.
    Usual cause: moving averages of quantization-aware training that have not settled (they start at -6 and 6). Train
    longer, or calibrate again; see QAT03 when you have the trained model.
    """
    for node in wiring.nodes:
        bounds = ACTIVATION_RANGE.get(_activation(node))
        y = node.outputs[0] if node.outputs else None
        step = scale(y)
        if bounds is None or y is None or y.dtype not in ("int8", "uint8") or step is None or _is_shared(wiring, y):
            continue
        first, last = INTEGER_RANGE[y.dtype]
        low, high = (step * (q - zero_point(y)) for q in (first, last))
        lost = min(1.0, (max(0.0, bounds[0] - low) + max(0.0, high - bounds[1])) / (step * (last - first)))
        if lost > TOLERATED:
            yield Found(wiring.operator(node), f"{lost:.1%} of the codes: range {low:.4g} to {high:.4g}")


def _activation(node: Node) -> str:
    return node.operator.op if node.operator.op in ACTIVATION_RANGE else node.activation


def _is_shared(wiring: Wiring, tensor: Tensor) -> bool:
    """True when the range had to fit other tensors too: a concatenation reads it, perhaps behind copies."""
    seen, waiting = {tensor.index}, [tensor]
    while waiting:
        for reader in wiring.readers(waiting.pop()):
            if reader.operator.op in SHARES:
                return True
            if reader.operator.op in COPIES:
                following = [t for t in reader.outputs if t.index not in seen]
                seen |= {t.index for t in following}
                waiting += following
    return False


SHARES = ("CONCATENATION", "PACK", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2", "DYNAMIC_UPDATE_SLICE")
COPIES = (
    *("AVERAGE_POOL_2D", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "PAD", "PADV2", "RESHAPE", "RESIZE_BILINEAR"),
    *("RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK"),
)
