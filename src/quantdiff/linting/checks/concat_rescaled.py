"""Concatenated values that are rounded once more."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.concatenation import concatenations, scales_told, unequal
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value, scale

A_BIT = 2.0


@check("SCALE03", Severity.WARNING, Wiring)
def concat_rescaled(wiring: Wiring) -> Iterator[Found]:
    """The inputs of a CONCATENATION have needlessly different scales.

    Each input is rescaled to the output's range, by a QUANTIZE in front or by the uint8 kernel: values are rounded
    twice, and what was quantized finely loses that. Give the layers that are joined one common range (one quantizer
    after the concatenation, none before it). A warning when an 8-bit input loses a bit or more, else for information.
    """
    for node in concatenations(wiring):
        y = node.outputs[0]
        made_by = (wiring.producer(t) for t in node.inputs)
        finer = [n.inputs[0] for n in made_by if n and n.operator.op == "QUANTIZE" and n.inputs]
        finer += unequal(node) if y.dtype == "uint8" else []
        known = [(s, t) for t in finer if t and is_integer_value(t) and t.dtype == y.dtype and (s := scale(t))]
        if known and (step := scale(y)):
            smallest = min(known, key=lambda pair: pair[0])
            loses = y.dtype != "int16" and step / smallest[0] >= A_BIT
            severity = Severity.WARNING if loses else Severity.INFO
            yield Found(wiring.operator(node), scales_told(node, [t for _, t in known]), severity)
