"""QUANTIZE and DEQUANTIZE that undo or repeat each other."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value
from quantdiff.sim.node import Node


@check("QUANT01", Severity.WARNING, Wiring)
def stray_quantize(wiring: Wiring) -> Iterator[Found]:
    """Two conversions in a row, or one that changes nothing.

    Each conversion costs time and may round once more. QUANTIZE → DEQUANTIZE around float operators is left-over fake
    quantization: convert a quantization-aware model with `optimizations = [tf.lite.Optimize.DEFAULT]`. Between
    integers, give both sides the same range, or quantize once to the final one.
    """
    for node in wiring.nodes:
        if not (node.inputs and node.outputs) or node.operator.op not in CONVERSIONS:
            continue
        x, y = node.inputs[0], node.outputs[0]
        before = wiring.producer(x)
        if node.operator.op == "QUANTIZE" and x and is_integer_value(x) and (x.dtype, x.quant) == (y.dtype, y.quant):
            yield Found(wiring.operator(node), f"same scale and zero point before and after ({y.dtype})")
        elif x and before and before.operator.op in CONVERSIONS and not _rescales_a_branch(wiring, before, x):
            evidence = f"{before.operator.op} #{before.operator.index} → {node.operator.op} #{node.operator.index}"
            yield Found(wiring.operator(node), evidence)


CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def _rescales_a_branch(wiring: Wiring, before: Node, x: Tensor) -> bool:
    """True when the first of two conversions is needed anyway: somebody else reads what it writes."""
    return before.operator.op == "QUANTIZE" and is_integer_value(x) and wiring.only_reader(x) is None
