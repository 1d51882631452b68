"""What a target does not compute in integers: floats in a quantized model, and operators that a runtime lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.graph import Tensor
from quantdiff.linting.lint import Found, Severity, check, counted
from quantdiff.linting.wiring import Wiring, is_float_value, is_integer_value, weighted
from quantdiff.ops import COMPILED, INTO_FLOAT, INTO_INTEGERS
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.xnnpack.checks import all_float
from quantdiff.sim.xnnpack.delegate import RULES, taken

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


@check("TFLM01", Severity.INFO, Wiring)
def tflm_lacks(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has no such operator.

    The model will not start on a microcontroller; elsewhere this does not matter. Use an op that TFLM has, or register
    a kernel of your own. The list is that of the Python package (`python_ops_resolver.cc`); newer ones may have more.
    """
    version, ops = tflm_ops()
    for node in wiring.nodes:
        if node.operator.op not in ops and not _compiled(node):
            yield Found(wiring.operator(node), f"not among the {len(ops)} ops of {version}")


@cache
def tflm_ops() -> tuple[str, frozenset[str]]:
    """Package and version, and the names of its ops; ``scripts/write_tflm_ops.py`` writes the file."""
    text = files("quantdiff.linting").joinpath("tflm_ops.txt").read_text(encoding="utf-8")
    version, *ops = text.splitlines()
    return version, frozenset(ops)


TYPES = {("float32", "float32"), ("int8", "int8"), ("int8", "int4"), ("int16", "int8")}
"""Input and weights that TFLM takes (``micro/kernels/{conv,depthwise_conv,fully_connected,transpose_conv}.cc``)."""


@check("TFLM02", Severity.INFO, Wiring)
def tflm_types(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has this operator, but not for these types.

    It computes int8, int16 with int8 weights, or float throughout: not the old uint8 scheme, and no float input with
    int8 weights (dynamic range). For a microcontroller convert to full int8; elsewhere this does not matter.
    """
    for layer in weighted(wiring):
        if layer.x is not None and (layer.x.dtype, layer.weights.dtype) not in TYPES:
            yield Found(layer.place, f"{layer.x.dtype} input with {layer.weights.dtype} weights")


WITHOUT_16_BITS = (
    *("ARG_MAX", "ARG_MIN", "ATAN2", "CEIL", "COS", "CUMSUM", "DEPTH_TO_SPACE", "ELU", "FLOOR", "HARD_SWISH"),
    *("L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOG_SOFTMAX", "POW", "RELU_0_TO_1"),
    *("RELU_N1_TO_1", "ROUND", "SIGN", "SIN", "SPACE_TO_DEPTH", "SQUARE"),
)
"""Refused in int16 by all runtimes that this package knows, each with a message about the type."""


@check("KERNEL01", Severity.ERROR, Wiring)
def no_16_bits(wiring: Wiring) -> Iterator[Found]:
    """An operator on 16 bits for which no runtime has a kernel.

    LiteRT and TensorFlow Lite Micro refuse the file, when it is loaded or when it first runs. Converters write such
    files where their specification promises more than the kernels hold. Leave this operator in float or int8, or
    replace it.
    """
    for node in wiring.nodes:
        if _has_no_kernel(node):
            yield Found(wiring.operator(node), "int16")


@check("KERNEL02", Severity.WARNING, Wiring)
def compiled_for_a_chip(wiring: Wiring) -> Iterator[Found]:
    """A part of the network is code for a chip, which only that chip runs.

    A vendor's compiler has put its code in place of operators. Nobody can look into it here, and no runtime of a CPU
    starts the file. Keep the file that the compiler was given and compare that one; what the chip computes goes in as
    `--runtime recorded:DUMP`.
    """
    for node in wiring.nodes:
        if _compiled(node):
            yield Found(wiring.operator(node), f"written by {_compiled(node)}")


def _compiled(node: Node) -> str | None:
    return COMPILED.get(node.operator.op.removeprefix("CUSTOM:"))


def _has_no_kernel(node: Node) -> bool:
    wide = (t is not None and t.dtype == "int16" and is_integer_value(t) for t in node.inputs)
    return node.operator.op in WITHOUT_16_BITS and any(wide)


@check("XNN01", Severity.INFO, Wiring)
def xnnpack_declines(wiring: Wiring) -> Iterator[Found]:
    """XNNPACK, LiteRT's default on a CPU, leaves this quantized operator to the slower built-in kernels.

    Each one also splits the part that XNNPACK runs in two. Usual in int8 models for SOFTMAX and AVERAGE_POOL_2D, and
    harmless at the end of a model; in the middle, another op may do (MEAN for the pool, a fused activation for RELU).
    The built-in kernels round by other rules: `quantdiff verify` shows what differs.
    """
    for node in wiring.nodes:
        if any(map(is_integer_value, (*node.inputs, *node.outputs))) and not (
            _has_no_kernel(node) or _compiled(node) or _taken(node)
        ):
            dtypes = ", ".join(dict.fromkeys(t.dtype for t in (*node.inputs, *node.outputs) if t))
            yield Found(wiring.operator(node), f"{_why(node)}: {dtypes}")


def _why(node: Node) -> str:
    rule = RULES.get(node.operator.op)
    if rule is None:
        return "an op that it does not know"
    return "in float only" if rule is all_float else "not with these types, scales or options"


def _taken(node: Node) -> bool:
    """The delegate's answer; an operator that lacks what its rule asks for is not taken."""
    try:
        with np.errstate(all="ignore"):
            return taken(node)
    except (QuantdiffError, NoKernel, LookupError, ValueError):
        return False
