"""The scales that meet in a CONCATENATION."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.wiring import Wiring, is_quantized
from quantdiff.sim.node import Node


def concatenations(wiring: Wiring) -> Iterator[Node]:
    """The CONCATENATION operators on quantized values."""
    for node in wiring.nodes:
        if node.operator.op == "CONCATENATION" and node.outputs and is_quantized(node.outputs[0]):
            yield node


def unequal(node: Node) -> list[Tensor]:
    """The inputs that have another scale or zero point than the output."""
    y = node.outputs[0]
    return [t for t in node.inputs if t is not None and t.quant is not None and t.quant != y.quant]


def scales_told(node: Node, tensors: list[Tensor]) -> str:
    """``output 0.1, inputs 0.05, 0.2``: the scale and, where it is that, the zero point that differs."""
    y = node.outputs[0]
    found = ", ".join(dict.fromkeys(map(_told, tensors)))
    return f"output {_told(y)}; {len(tensors)} of {len(node.inputs)} inputs {found}"


def _told(tensor: Tensor) -> str:
    if tensor.quant is None:
        return "without scale"
    return f"{tensor.quant.scale[0]:.4g}, zero point {tensor.quant.zero_point[0]}"
