"""Operators that bring several operands onto one grid, or copy integers from one grid to another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import inf

from quantdiff.graph import Tensor, follow
from quantdiff.linting.lint import Found, Severity, check
from quantdiff.linting.wiring import Wiring, is_integer_value, is_quantized, scale, zero_point
from quantdiff.ops import RECODES, traits
from quantdiff.quant import INTEGER_RANGE
from quantdiff.sim.node import ACTIVATION_RANGE, Node

A_BIT, A_LOT, BOTH = 2.0, 16.0, 2
SIDE_BY_SIDE = ("CONCATENATION", "PACK")
BOUNDS = {
    **ACTIVATION_RANGE,
    "LOGISTIC": (0.0, 1.0),
    "SOFTMAX": (0.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "TANH": (-1.0, 1.0),
}
"""Between which numbers each op gives values."""


@check("SCALE02", Severity.ERROR, Wiring)
def concat_unequal(wiring: Wiring) -> Iterator[Found]:
    """A signed CONCATENATION has an input with another scale or zero point than its output.

    The kernels copy integers: for int8 the runtimes refuse the file (`t->params.scale != output->params.scale`), for
    int16 values are read in the wrong unit. Convert again, so that all inputs share the output's range.
    """
    for node in concatenations(wiring):
        if node.outputs[0].dtype in ("int8", "int16") and (other := unequal(node)):
            yield Found(wiring.operator(node), scales_told(node, other))


@check("SCALE03", Severity.WARNING, Wiring)
def concat_rescaled(wiring: Wiring) -> Iterator[Found]:
    """The inputs of a CONCATENATION have needlessly different scales.

    Each input is rescaled to the output's range, by a QUANTIZE in front or by the uint8 kernel: values are rounded
    twice, and what was quantized finely loses that. Give the layers that are joined one common range (one quantizer
    after the concatenation, none before it). A warning when an 8-bit input loses a bit or more, else for information.
    """
    for node in concatenations(wiring):
        y = node.outputs[0]
        finer = [wiring.before_rescaling(t) for t in node.inputs]
        finer += unequal(node) if y.dtype == "uint8" else []
        known = [(s, t) for t in finer if t and is_integer_value(t) and t.dtype == y.dtype and (s := scale(t))]
        if known and (step := scale(y)):
            smallest = min(known, key=lambda pair: pair[0])
            loses = y.dtype != "int16" and step / smallest[0] >= A_BIT
            severity = Severity.WARNING if loses else Severity.INFO
            yield Found(wiring.operator(node), scales_told(node, [t for _, t in known]), severity)


@check("SCALE04", Severity.WARNING, Wiring)
def add_unequal(wiring: Wiring) -> Iterator[Found]:
    """The inputs of an ADD or SUB have needlessly different scales.

    With a factor of 16 or more, one input is four bits coarser than the other: its rounding drowns the finer one, whose
    precision is lost. One branch's range is unsettled or was calibrated on outliers, or the branches really differ in
    size; normalize them (batch norm on both), or look at the wider range with `quantdiff inspect`.
    """
    for node in wiring.nodes:
        if node.operator.op not in ("ADD", "SUB") or len(node.inputs) != BOTH:
            continue
        a, b = (_varying_scale(wiring, t) for t in node.inputs)
        if a and b and max(a, b) >= A_LOT * min(a, b):
            yield Found(wiring.operator(node), f"scales {a:.4g} and {b:.4g}, a factor of {max(a, b) / min(a, b):.3g}")


@check("SCALE05", Severity.WARNING, Wiring)
def operand_drowned(wiring: Wiring) -> Iterator[Found]:
    """An operand spans less than one step of the output that it goes into; where values are joined, fewer than 16.

    What it holds is lost, or has less than four bits left. The output's range is made for something far larger, a mask
    of -1e9 or boxes in pixels beside scores of 0 to 1. Mask with a number just below the other values, bring what is
    joined to one unit, or give each an output of its own.
    """
    for node in wiring.nodes:
        step = scale(node.outputs[0]) if node.outputs and is_integer_value(node.outputs[0]) else None
        reached = dict(_reaches(wiring, node)) if step else {}
        needed = A_LOT if node.operator.op in SIDE_BY_SIDE else 1.0
        if step and reached and min(reached.values()) < needed * step:
            least = min(reached, key=lambda position: reached[position])
            evidence = f"input {least} moves it by {reached[least]:.4g} at most, its step is {step:.4g}"
            yield Found(wiring.operator(node), evidence)


def _reaches(wiring: Wiring, node: Node) -> Iterator[tuple[int, float]]:
    """Position of each operand that varies, and how far it can move the output, in real units."""
    if node.operator.op in ("ADD", "SUB") or traits(node.operator.op).joins:
        factors = [1.0] * len(node.inputs)
    elif node.operator.op == "MUL" and len(node.inputs) == BOTH:
        factors = [_largest(wiring, other) for other in reversed(node.inputs)]
    else:
        return
    for position, (tensor, factor) in enumerate(zip(node.inputs, factors, strict=True)):
        source = wiring.before_rescaling(tensor)
        source = source if is_integer_value(source) else tensor
        if source and is_integer_value(source) and wiring.varies(source) and (step := scale(source)):
            low, high = INTEGER_RANGE[source.dtype]
            yield position, min(step * (high - low), _width(wiring, source)) * factor


def _width(wiring: Wiring, tensor: Tensor) -> float:
    """How far apart two values can be by the activation that they come from, behind copies; infinite where none says.

    A converter lets what is joined share a grid: then only this tells that scores are 0 to 1.
    """
    known: dict[int, float] = wiring.known.setdefault(_width, {})
    return follow(tensor.index, known, partial(_toward_activation, wiring))


def _toward_activation(wiring: Wiring, tensor: int) -> tuple[int | None, float]:
    maker = wiring.producer(wiring.graph.tensors[tensor])
    if maker is None or not maker.inputs:
        return None, inf
    op, known = maker.operator.op, traits(maker.operator.op)
    low, high = BOUNDS.get(op) or ACTIVATION_RANGE.get(maker.activation, (-inf, inf))
    copies = op in RECODES or (known.one_grid and not known.joins)
    source = maker.inputs[known.x] if copies and high - low == inf and known.x < len(maker.inputs) else None
    return (None if source is None else source.index), high - low


def _largest(wiring: Wiring, tensor: Tensor | None) -> float:
    """The largest size that a factor can have; infinite where it cannot be told, or is 0 by itself."""
    step = scale(tensor)
    if tensor is None or step is None or not is_quantized(tensor) or not (tensor.is_constant or wiring.varies(tensor)):
        return inf
    if tensor.data is not None and not (tensor.data != zero_point(tensor)).any():
        return inf
    return step * max(abs(end - zero_point(tensor)) for end in INTEGER_RANGE[tensor.dtype])


def _varying_scale(wiring: Wiring, tensor: Tensor | None) -> float | None:
    return scale(tensor) if is_integer_value(tensor) and wiring.varies(tensor) else None


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


Grid = tuple[float, int]


@check("SCALE07", Severity.ERROR, Wiring)
def copied_to_another_grid(wiring: Wiring) -> Iterator[Found]:
    """An operator that copies integers has another scale or zero point at its output than at its input.

    The kernels of RESHAPE, REVERSE_V2, GATHER, PAD and their like move integers, those of pools and resizing average
    them, and none reads the scales: what stands behind takes the values in the wrong unit. LiteRT refuses some of them
    instead (EXPAND_DIMS, MIRROR_PAD, PACK, REDUCE_MAX, UNPACK, …), and more with XNNPACK (PAD, SLICE, SPLIT, TRANSPOSE,
    …). Give both tensors one grid, or put a QUANTIZE between them.
    """
    for node in wiring.nodes:
        if traits(node.operator.op).one_grid and node.operator.op != "CONCATENATION" and (pair := _unlike(node)):
            x, y = map(_grid_told, pair)
            yield Found(wiring.operator(node), f"input {x}; output {y}")


def _unlike(node: Node) -> tuple[Grid, Grid] | None:
    """The first input and output of one type that are on two grids."""
    pairs = ((_grid(x), _grid(y)) for y in node.outputs for x in node.inputs if x is not None and x.dtype == y.dtype)
    return next(((x, y) for x, y in pairs if x is not None and y is not None and x != y), None)


def _grid(tensor: Tensor) -> Grid | None:
    """Scale and zero point of what is quantized as a whole."""
    step = scale(tensor) if is_quantized(tensor) else None
    return None if step is None else (step, zero_point(tensor))


def _grid_told(grid: Grid) -> str:
    return f"scale {grid[0]:.4g}, zero point {grid[1]}"
