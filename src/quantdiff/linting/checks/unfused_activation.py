"""An activation that the operator before it could apply."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value

ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
CAN_FUSE = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "ADD", "SUB", "MUL")


@check("FUSE01", Severity.WARNING, Wiring)
def unfused_activation(wiring: Wiring) -> Iterator[Found]:
    """An activation runs on its own after an operator that could apply it.

    The values are rounded twice, and the range before the activation spends codes on numbers that it cuts off.
    Give the layer its activation (`Conv2D(…, activation="relu")`), or let TFMOT see both layers in one quantize_model
    call: a quantizer between the two keeps the converter from fusing them.
    """
    for node in wiring.nodes:
        if node.operator.op not in ACTIVATIONS or not node.inputs or not is_integer_value(node.inputs[0]):
            continue
        before = wiring.producer(node.inputs[0])
        if before is None or before.operator.op not in CAN_FUSE or before.activation != "NONE":
            continue
        if wiring.only_reader(before.outputs[0]) is node:
            yield Found(wiring.operator(node), f"only reader of {before.operator.op} #{before.operator.index}")
