"""Tensors by themselves: scales, zero points, axes, states, and codes that an activation never gives."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from quantdiff.graph import Graph, Tensor
from quantdiff.linting.lint import Found, Severity, check, counted
from quantdiff.linting.wiring import Wiring, is_integer_value, is_quantized, scale, short_name, weighted, zero_point
from quantdiff.ops import CLAMPS, traits
from quantdiff.quant import INTEGER_RANGE
from quantdiff.sim.graph.shapes import false_shapes
from quantdiff.sim.node import ACTIVATION_RANGE, Node
from quantdiff.sim.ops.recurrent import TANH_BITS

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"


@check("SCALE01", Severity.ERROR, Wiring)
def scale_invalid(wiring: Wiring) -> Iterator[Found]:
    """A scale is zero, negative, infinite or NaN.

    No real value can be read from such a tensor; kernels divide by it, and some abort the whole process over it. Usual
    cause: a range that was never observed (no calibration sample reached the tensor), a constant that is 0 throughout,
    or min = max in quantization-aware training. Calibrate or train again.
    """
    for tensor in wiring.graph.tensors:
        used = wiring.graph.readers(tensor.index) or wiring.graph.producer(tensor.index)
        if not used or tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
            continue
        bad = [s for s in tensor.quant.scale if not (math.isfinite(s) and s > 0)]
        if bad:
            yield Found(
                wiring.tensor(tensor), f"{len(bad)} of {counted(len(tensor.quant.scale), 'scale')}, first {bad[0]:g}"
            )


@check("SCALE06", Severity.WARNING, Wiring)
def block_scale_lost(wiring: Wiring) -> Iterator[Found]:
    """Blocks of weights have a scale of 0, or one that float16 holds with few bits.

    The weights of such a block are 0 or in coarse steps of their own: they were all 0, or far below the others of their
    channel. Quantize per channel, or in larger blocks; if the block is 0 in the float model too, nothing is lost.
    """
    tensors = wiring.graph.tensors
    for tensor in tensors:
        if tensor.blocks is None or not 0 <= tensor.blocks.scales < len(tensors):
            continue
        scales = tensors[tensor.blocks.scales].data
        if scales is None or scales.dtype.kind != "f":
            continue
        lost = np.abs(scales.astype(np.float64)) < np.finfo(np.float16).smallest_normal
        if lost.any():
            zero = int(np.count_nonzero(scales == 0))
            yield Found(
                wiring.tensor(tensor), f"{counted(int(lost.sum()), 'block')} of {lost.size}, {zero} with scale 0"
            )


@check("ZERO01", Severity.ERROR, Wiring)
def zero_point_outside(wiring: Wiring) -> Iterator[Found]:
    """A zero point is no value of its dtype.

    Real 0 has no code: padding and ReLU are wrong, and runtimes refuse the file or give garbage. A mix-up of uint8 and
    int8 looks like this (they differ by 128). Convert again, or subtract 128 when you rewrite uint8 as int8.
    """
    for tensor in wiring.graph.tensors:
        if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
            continue
        low, high = INTEGER_RANGE[tensor.dtype]
        outside = [z for z in tensor.quant.zero_point if not low <= z <= high]
        if outside:
            yield Found(wiring.tensor(tensor), f"zero point {outside[0]}, {tensor.dtype} holds {low} to {high}")


@check("ZERO03", Severity.ERROR, Wiring)
def fixed_zero_point(wiring: Wiring) -> Iterator[Found]:
    """A bias or an int16 activation has a zero point other than 0.

    The kernels take it for 0: they refuse the file, or compute as if it were not there. Convert again, or shift the
    stored integers so that the zero point is 0.
    """
    biases = {layer.bias.index: layer.bias for layer in weighted(wiring) if layer.bias and is_quantized(layer.bias)}
    wide = {t.index: t for layer in weighted(wiring) for t in (layer.x, layer.y) if t and t.dtype == "int16"}
    for tensor in (biases | wide).values():
        points = [z for z in tensor.quant.zero_point if z] if tensor.quant else []
        if points:
            yield Found(wiring.tensor(tensor), f"{tensor.dtype} with zero point {points[0]}")


@check("AXIS01", Severity.ERROR, Wiring)
def axis_outside(wiring: Wiring) -> Iterator[Found]:
    """A tensor's quantized dimension is none of its dimensions.

    Seen in older files, in biases of depthwise convolutions (3 of 1). LiteRT 2.3 refuses such a file
    (`quantized_dimension must be in range`); older runtimes and TFLM run it. Convert again, or set it to 0.
    """
    wrong = [t for t in wiring.graph.tensors if t.quant and t.shape and not 0 <= t.stored_axis < len(t.shape)]
    if wrong:
        evidence = f"dimension {wrong[0].stored_axis} of {len(wrong[0].shape)}; {counted(len(wrong), 'such tensor')}"
        yield Found(wiring.tensor(wrong[0]), evidence)


@check("STATE01", Severity.ERROR, Wiring)
def states_shared(wiring: Wiring) -> Iterator[Found]:
    """Two states are the same tensor, or another operator begins with one.

    An LSTM keeps what it gave and what its cells hold, in two types and two ranges; here each step overwrites one with
    the other, so that runtimes refuse the file or give garbage. A loop that should begin with zeros begins with what
    the LSTM left. Seen where a tool has merged constants that are equal, such as two states of zero: convert again
    without it, or give each state a tensor of its own.
    """
    for tensor in wiring.graph.tensors:
        uses = [use for node in wiring.readers(tensor) for use in _uses(node, tensor)] if tensor.is_variable else []
        if len(uses) > 1 and any(traits(node.operator.op).stateful for node, _ in uses):
            told = " and ".join(f"input {position} of #{node.operator.index}" for node, position in uses)
            evidence = f"tensor {tensor.index} {short_name(tensor)} ({tensor.dtype}) is {told}"
            yield Found(wiring.operator(uses[0][0]), evidence)


@check("STATE02", Severity.ERROR, Wiring)
def cell_without_tanh(wiring: Wiring) -> Iterator[Found]:
    """The int16 cell state of an LSTM has a scale outside of 2⁻¹⁵ to 2⁻⁹.

    LiteRT's kernels have no tanh for it, so that the layer gives a constant whatever its input; TensorFlow Lite Micro
    computes it. Usual cause: calibration data on which the cells hardly move, or grow without end. Calibrate again on
    data as the model will see them.
    """
    finest, coarsest = (2.0 ** (bits - 15) for bits in (min(TANH_BITS), max(TANH_BITS)))
    for node in wiring.nodes:
        states = [t for t in node.inputs if t is not None and t.is_variable and t.dtype == "int16"]
        step = scale(states[-1]) if states and node.operator.op == LSTM else None
        if step is not None and not finest <= step <= coarsest:
            yield Found(wiring.operator(node), f"the cell state's scale is {step:.4g}")


@check("SHAPE01", Severity.WARNING, Wiring)
def shape_false(wiring: Wiring) -> Iterator[Found]:
    """A stored shape is not the one that its operator makes.

    LiteRT computes shapes anew and runs; TensorFlow Lite Micro, code generators and NPU compilers believe the file,
    reserve too little memory and compute on other tensors' values. Sizes left open (-1 in the shape signature) are not
    meant. Convert again with a static shape, or write what the runtime reports.
    """
    found = [shape for shape in false_shapes(wiring.graph, wiring.model.subgraphs) if not shape.left_open]
    if found:
        evidence = f"{found[0].text}; {counted(len(found), 'such tensor')}"
        yield Found(wiring.tensor(found[0].tensor), evidence)


def _uses(node: Node, tensor: Tensor) -> list[tuple[Node, int]]:
    """The places at which an operator reads a tensor."""
    return [(node, i) for i, index in enumerate(node.operator.inputs) if index == tensor.index]


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
