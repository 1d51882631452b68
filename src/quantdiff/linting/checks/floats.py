"""Floats in a quantized model, and the conversions around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.registry import Found, Severity, check, counted
from quantdiff.linting.wiring import Wiring, is_float_value, is_integer_value
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS
from quantdiff.sim.node import Node

Group = list[Node]
CONVERSIONS, SHOWN = (INTO_INTEGERS, INTO_FLOAT), 4
FLOAT16_TAKERS = (*CONVERSIONS, "CAST")


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


def _connected(wiring: Wiring) -> list[Group]:
    """The float operators, in groups that hand float values to each other."""
    floats = [node for node in wiring.nodes if _computes_in_float(node)]
    leaders = {node.operator.index: node.operator.index for node in floats}

    def leader(index: int) -> int:
        while (above := leaders[index]) != index:
            leaders[index] = index = leaders[above]  # halve the way for the next who asks
        return index

    for node in floats:
        for maker in (wiring.producer(t) for t in node.inputs if is_float_value(t)):
            if maker is not None and maker.operator.index in leaders:
                leaders[leader(maker.operator.index)] = leader(node.operator.index)
    groups: dict[int, Group] = {}
    for node in floats:
        groups.setdefault(leader(node.operator.index), []).append(node)
    return list(groups.values())


def _computes_in_float(node: Node) -> bool:
    return node.operator.op not in CONVERSIONS and any(map(is_float_value, node.outputs))


def _entry(wiring: Wiring, tensor: Tensor | None) -> Node | None:
    maker = wiring.producer(tensor)
    dequantizes = maker is not None and maker.operator.op == INTO_FLOAT
    return maker if dequantizes and maker and any(map(is_integer_value, maker.inputs)) else None


def _is_exit(node: Node) -> bool:
    return node.operator.op == INTO_INTEGERS and any(map(is_integer_value, node.outputs))


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
    return node.operator.op != INTO_INTEGERS and any(map(is_integer_value, node.outputs))


SAYS_SO = re.compile(r"(?i)(?<![a-z])(u?int(4|8|16)|16x8|quant(ized|ised)?|qat|ptq)(?![a-z])")


@check("FLOAT04", Severity.WARNING, Wiring)
def said_to_be_quantized(wiring: Wiring) -> Iterator[Found]:
    """The file's name says that it is quantized, but nothing in it is.

    All constants and all values are float32: it is as large and as slow as the float model. Usual causes:
    `optimizations` was not set, or a quantization-aware model was converted without it. Set
    `converter.optimizations = [tf.lite.Optimize.DEFAULT]` and convert again.
    """
    path, graph = wiring.model.path, wiring.graph
    said = SAYS_SO.search(f"{'' if path is None else path.stem} {graph.name}")
    tensors = [t for t in graph.tensors if t.dtype != "string"]
    numbers = [t for t in tensors if t.quant is not None or not t.dtype.startswith(("int32", "int64", "bool"))]
    if said and wiring.index == 0 and wiring.nodes and numbers and all(t.dtype == "float32" for t in numbers):
        yield Found(
            wiring.operator(wiring.nodes[0]), f"{said[0]!r} in the name; all {len(numbers)} tensors are float32"
        )


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
        if node.operator.op == INTO_INTEGERS and x and is_integer_value(x) and (x.dtype, x.quant) == (y.dtype, y.quant):
            yield Found(wiring.operator(node), f"same scale and zero point before and after ({y.dtype})")
        elif x and before and before.operator.op in CONVERSIONS and not _rescales_a_branch(wiring, before, x):
            evidence = f"{before.operator.op} #{before.operator.index} → {node.operator.op} #{node.operator.index}"
            yield Found(wiring.operator(node), evidence)


def _rescales_a_branch(wiring: Wiring, before: Node, x: Tensor) -> bool:
    """True when the first of two conversions is needed anyway: somebody else reads what it writes."""
    return before.operator.op == INTO_INTEGERS and is_integer_value(x) and wiring.only_reader(x) is None


@check("FLOAT03", Severity.WARNING, Wiring)
def float16_values(wiring: Wiring) -> Iterator[Found]:
    """Operators compute on float16 values.

    Most of LiteRT's own kernels refuse them (convolutions, dense layers, pools, ReLU), XNNPACK takes many of these but
    no MAX_POOL_2D, and TensorFlow Lite Micro none. Store the weights as float16 and let a DEQUANTIZE in front of
    each operator give float32: `target_spec.supported_types = [tf.float16]` writes that.
    """
    readers = [
        node
        for node in wiring.nodes
        if node.operator.op not in FLOAT16_TAKERS
        and any(t and t.dtype == "float16" and is_float_value(t) for t in node.inputs)
    ]
    if readers:
        yield Found(wiring.operator(readers[0]), f"the first of {counted(len(readers), 'such operator')}")
