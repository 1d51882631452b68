"""Float at the door of an integer model."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity, counted
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_float_value, is_integer_value
from quantdiff.sim.node import Node


@check("FLOAT02", Severity.INFO, Wiring)
def float_ends(wiring: Wiring) -> Iterator[Found]:
    """A quantized model takes or gives float values.

    It converts at its ends, which is the converter's default and right for an application that works in float.
    A microcontroller or an NPU wants integers: set inference_input_type and inference_output_type to tf.int8.
    """
    quantized = [node for node in wiring.nodes if any(map(is_integer_value, node.inputs)) and _is_integer(node)]
    if not quantized:
        return
    for role, ends in (("input", wiring.inputs), ("output", wiring.outputs)):
        for tensor in filter(is_float_value, ends):
            evidence = f"{tensor.dtype}; integers in {counted(len(quantized), 'operator')}"
            yield Found(wiring.tensor(tensor, role), evidence)


def _is_integer(node: Node) -> bool:
    return node.operator.op != "QUANTIZE" and any(map(is_integer_value, node.outputs))
