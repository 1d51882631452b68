"""Kernels of the file with their channels made alike: what one operator loses in a channel the next one gives back.

Between two operators a channel may be divided by any positive number, if the next kernel is multiplied by it: nothing
changes, through ReLU neither. The numbers are those that give a channel the same range in both kernels (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.advice.choices import Met
from quantdiff.ladder.advice.plans import EQUALIZED, Choice, from_data
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array

OUTPUT_AXIS = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
INPUT_AXIS = {"CONV_2D": 3, "FULLY_CONNECTED": 1, "DEPTHWISE_CONV_2D": 3}
"""Of a kernel: where its channels lie."""
THROUGH = ("PAD", "MAX_POOL_2D")
"""What hands channels on as they are, be they divided or not."""
LINEAR = ("NONE", "RELU")
ROUNDS = 20
"""Over all pairs, where a kernel belongs to two of them."""
MOST_CODE = 127


@dataclass(frozen=True, slots=True)
class Pair:
    """Two operators, the tensor that the first one makes, and both kernels."""

    first: Operator
    second: Operator
    between: int
    kernels: tuple[int, int]


def equalizations(switches: Switches, met: Mapping[int, Met]) -> Iterator[Choice]:
    """Each pair alone, and all of them together."""
    pairs = [pair for pair in pairs_of(switches) if pair.between in met]
    for pair in pairs:
        change = f"its channels equalized with {switches.layer_of(pair.second.outputs[0])}"
        yield _choice(switches, [pair], met, change, switches.layer_of(pair.between), pair.between)
    if len(pairs) > 1:
        yield _choice(switches, pairs, met, "channels equalized in all of them", "kernels", -1)


def pairs_of(switches: Switches) -> list[Pair]:
    """Operators of which the second one alone reads what the first one makes, with kernels of int8 that are known."""
    graph, found = switches.file.graph, list[Pair]()
    for first in switches.file.operators:
        if first.op not in OUTPUT_AXIS or first.options.get("fused_activation_function", "NONE") not in LINEAR:
            continue
        at, second = first.outputs[0], _only_reader(switches, first.outputs[0])
        while second is not None and second.op in THROUGH and second.outputs[0] in switches.file.copies:
            at, second = second.outputs[0], _only_reader(switches, second.outputs[0])
        if second is None or second.op not in INPUT_AXIS or second.inputs[traits(second.op).x] != at:
            continue
        kernels = first.inputs[traits(first.op).weights or 0], second.inputs[traits(second.op).weights or 0]
        if not all(_known(switches, i) for i in kernels):
            continue
        shapes = [graph.tensors[i].shape for i in kernels]
        if shapes[0][OUTPUT_AXIS[first.op]] == shapes[1][INPUT_AXIS[second.op]] == graph.tensors[at].shape[-1]:
            found.append(Pair(first, second, first.outputs[0], kernels))
    return found


def _only_reader(switches: Switches, tensor: int) -> Operator | None:
    graph = switches.file.graph
    readers = graph.readers(tensor)
    return readers[0] if len(readers) == 1 and not graph.is_output(tensor) and tensor in switches.file.grids else None


def _known(switches: Switches, kernel: int) -> bool:
    """Whether a kernel is stored in int8 around 0, for one operator, and the reference's is known."""
    tensor, match = switches.file.graph.tensors[kernel], switches.matches.get(kernel)
    if match is None or match.value is None or len(switches.file.graph.readers(kernel)) > 1:
        return False
    quant = tensor.quant
    return tensor.dtype == "int8" and tensor.sparsity is None and quant is not None and not any(quant.zero_point)


def _choice(
    switches: Switches, pairs: Sequence[Pair], met: Mapping[int, Met], change: str, where: str, at: int
) -> Choice:
    values = _values(switches, pairs)
    total = {pair.between: np.ones(switches.file.graph.tensors[pair.between].shape[-1]) for pair in pairs}
    for pair in (pair for _ in range(ROUNDS if len(pairs) > 1 else 1) for pair in pairs):
        (one, other), first, second = pair.kernels, OUTPUT_AXIS[pair.first.op], INPUT_AXIS[pair.second.op]
        mine, theirs = _largest(values[one], first), _largest(values[other], second)
        by = np.sqrt(np.where((mine > 0) & (theirs > 0), mine / np.where(theirs > 0, theirs, 1.0), 1.0))
        values[one] = values[one] / _along(by, values[one].ndim, first)
        values[other] = values[other] * _along(by, values[other].ndim, second)
        total[pair.between] *= by
    biases = {bias: values.pop(bias) / total[pair.between] for pair in pairs if (bias := _bias(switches, pair)) >= 0}
    scales = {i: _scale(switches, i, value) for i, value in values.items()}
    kernels = {i: np.clip(np.rint(values[i] / scale), -MOST_CODE, MOST_CODE) * scale for i, scale in scales.items()}
    grids = {}
    for tensor, by in total.items():
        low, high = (side / by for side in met[tensor].ends)
        grids[tensor] = from_data((float(low.min()), float(high.max())), switches.file.grids[tensor])
    return Choice(EQUALIZED, change, where, at, frozenset(), grids, {**kernels, **biases}, scales)


def _values(switches: Switches, pairs: Sequence[Pair]) -> dict[int, Array]:
    """The reference's kernels, and the biases of the first ones."""
    wanted = {i for pair in pairs for i in (*pair.kernels, _bias(switches, pair)) if i >= 0}
    found = {}
    for i in wanted:
        match = switches.matches.get(i)
        value = switches.file.constants[i] if match is None or match.value is None else match.value
        found[i] = np.asarray(value, np.float64)
    return found


def _bias(switches: Switches, pair: Pair) -> int:
    place = traits(pair.first.op).bias
    given = pair.first.inputs[place] if place is not None and place < len(pair.first.inputs) else -1
    return given if given in switches.biases else -1


def _largest(kernel: Array, axis: int) -> Array:
    """Of each channel. Shape: (channels,)."""
    return np.asarray(np.abs(kernel).max(axis=tuple(k for k in range(kernel.ndim) if k != axis)))


def _along(by: Array, ndim: int, axis: int) -> Array:
    return by.reshape([-1 if k == axis else 1 for k in range(ndim)])


def _scale(switches: Switches, kernel: int, values: Array) -> Array:
    """One for all, or one for each channel, as the file has it; float32, so that it can be stored."""
    quant = switches.file.graph.tensors[kernel].quant
    assert quant is not None
    if quant.axis is None or len(quant.scale) == 1:
        return np.asarray(np.abs(values).max() / MOST_CODE or 1.0, np.float32).reshape([1] * values.ndim)
    scale = _largest(values, quant.axis) / MOST_CODE
    return _along(np.where(scale > 0, scale, 1.0).astype(np.float32), values.ndim, quant.axis)
