"""Activations: codes that they never give, and those that stand alone."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Graph
from quantdiff.linting.registry import Found, Severity, check
from quantdiff.linting.wiring import Wiring, is_integer_value, scale, zero_point
from quantdiff.ops import CLAMPS, traits
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
    shared = _shared(wiring.graph)
    for node in wiring.nodes:
        bounds = ACTIVATION_RANGE.get(_activation(node))
        y = node.outputs[0] if node.outputs else None
        step = scale(y)
        if bounds is None or y is None or y.dtype not in ("int8", "uint8") or step is None or y.index in shared:
            continue
        first, last = INTEGER_RANGE[y.dtype]
        low, high = (step * (q - zero_point(y)) for q in (first, last))
        lost = min(1.0, (max(0.0, bounds[0] - low) + max(0.0, high - bounds[1])) / (step * (last - first)))
        if lost > TOLERATED:
            yield Found(wiring.operator(node), f"{lost:.1%} of the codes: range {low:.4g} to {high:.4g}")


def _activation(node: Node) -> str:
    return node.operator.op if node.operator.op in ACTIVATION_RANGE else node.activation


def _shared(graph: Graph) -> set[int]:
    """Tensors whose range had to fit others too: something that joins them reads it, perhaps behind copies."""
    found: set[int] = set()
    for operator in reversed(graph.operators):
        known = traits(operator.op)
        if known.joins or (known.one_grid and not found.isdisjoint(operator.outputs)):
            found.update(operator.inputs)
    return found


@check("FUSE01", Severity.WARNING, Wiring)
def unfused_activation(wiring: Wiring) -> Iterator[Found]:
    """An activation runs on its own after an operator that could apply it.

    The values are rounded twice, and the range before the activation spends codes on numbers that it cuts off.
    Give the layer its activation (`Conv2D(…, activation="relu")`), or let TFMOT see both layers in one quantize_model
    call: a quantizer between the two keeps the converter from fusing them.
    """
    for node in wiring.nodes:
        if node.operator.op not in CLAMPS or not node.inputs or not is_integer_value(node.inputs[0]):
            continue
        before = wiring.producer(node.inputs[0])
        if before is None or not traits(before.operator.op).fuses or before.activation != "NONE":
            continue
        if wiring.only_reader(before.outputs[0]) is node:
            yield Found(wiring.operator(node), f"only reader of {before.operator.op} #{before.operator.index}")
