"""Float operators between quantized ones."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.finding import Found, Severity, counted
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_float_value, is_integer_value
from quantdiff.sim.node import Node

Group = list[Node]


@check("FLOAT01", Severity.WARNING, Wiring)
def float_island(wiring: Wiring) -> Iterator[Found]:
    """Float operators in the middle of a quantized model.

    Values are dequantized, computed in float and quantized again: slow, impossible on integer-only hardware, and not
    what quantization-aware training simulated. Usual causes: Dense → BatchNormalization → ReLU (fold the norm into the
    Dense layer before training, or leave it out), a layer without a QuantizeConfig, an op without an int8 kernel.
    """
    for group in _connected(wiring):
        before = [maker for node in group for t in node.inputs if (maker := _entry(wiring, t))]
        after = [reader for node in group for t in node.outputs for reader in wiring.readers(t) if _is_exit(reader)]
        if before and after:
            path = " → ".join(f"{n.operator.op} #{n.operator.index}" for n in (before[0], *group[:SHOWN], after[-1]))
            yield Found(wiring.operator(group[0]), f"{counted(len(group), 'float operator')}: {path}")


SHOWN = 4


def _connected(wiring: Wiring) -> list[Group]:
    """The float operators, in groups that hand float values to each other."""
    groups: dict[int, Group] = {}
    for node in wiring.nodes:
        if not _computes_in_float(node):
            continue
        makers = (wiring.producer(t) for t in node.inputs if is_float_value(t))
        linked = {id(g): g for m in makers if m and (g := groups.get(m.operator.index))}
        merged = sorted((n for g in linked.values() for n in g), key=lambda n: n.operator.index)
        merged.append(node)
        groups |= {member.operator.index: merged for member in merged}
    return list({id(group): group for group in groups.values()}.values())


def _computes_in_float(node: Node) -> bool:
    return node.operator.op not in {"QUANTIZE", "DEQUANTIZE"} and any(map(is_float_value, node.outputs))


def _entry(wiring: Wiring, tensor: Tensor | None) -> Node | None:
    maker = wiring.producer(tensor)
    dequantizes = maker is not None and maker.operator.op == "DEQUANTIZE"
    return maker if dequantizes and maker and any(map(is_integer_value, maker.inputs)) else None


def _is_exit(node: Node) -> bool:
    return node.operator.op == "QUANTIZE" and any(map(is_integer_value, node.outputs))
