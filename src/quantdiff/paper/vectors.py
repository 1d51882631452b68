"""Golden vectors: what each operator took and gave on a real runtime, and the integers on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from quantdiff.compare.verdict import OperatorResult, compare_operators
from quantdiff.errors import BadData, BadModel, NotConfirmed
from quantdiff.graph import Graph, Model, Operator, Tensor, dense_values
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.by_kernel import channels_by
from quantdiff.quant import Array, differing
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.random_input import samples_for
from quantdiff.run.runner import started
from quantdiff.run.runtimes import check_installed, versions
from quantdiff.sim.device import Device, Rules, kernel_by
from quantdiff.sim.graph.operators import kernel_of, ran_by
from quantdiff.sim.node import Node, NoKernel, clamp_of, node_of, zero_point_of
from quantdiff.sim.rounding.exact_sums import ACCUMULATE, Channel, accumulators, channels_of
from quantdiff.sim.rounding.fixed_point import requantize

ROLES = ("input", "weights", "bias")
"""What the inputs of an operator with sums of products are called; others are numbered."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One array under its role: samples along axis 0 for activations, ``tensor`` where it is one of the file."""

    key: str
    array: Array = field(compare=False, repr=False)
    tensor: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GoldenOperator:
    """An operator's vectors.

    ``channels`` say how each output channel is scaled, for the ops with sums of products in 8 bits; empty for
    others. ``mismatches`` counts the outputs for which the simulator gives something else, None where it
    has no kernel: the vectors are the runtime's in any case. ``unreadable`` names tensors that cannot be had.
    """

    node: Node = field(repr=False)
    kernel: str
    vectors: tuple[Vector, ...]
    channels: tuple[Channel, ...] = ()
    clamp: tuple[int, int] | None = None
    mismatches: int | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def operator(self) -> Operator:
        """As the file has it."""
        return self.node.operator

    def array(self, key: str) -> Array | None:
        """The vector of that role."""
        return next((vector.array for vector in self.vectors if vector.key == key), None)


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """All operators of a model on one runtime, by name, and what they were made from."""

    runtime: str
    samples: int
    operators: tuple[GoldenOperator, ...]
    made_by: Mapping[str, object] = field(default_factory=dict, compare=False)


def load_and_record(
    model: Path, data: Path | Batch, runtime: str, samples: int, timeout: float = TIMEOUT
) -> GoldenVectors:
    """As ``record``, from files."""
    return record(load_tflite(model), load_data(data, model), runtime, samples, timeout)


def record(model: Model, batch: Batch, runtime: str, samples: int, timeout: float = TIMEOUT) -> GoldenVectors:
    """Run the first ``samples`` of the data, and keep every operator's vectors.

    Raises:
        NotConfirmed: an accumulator does not lead to the runtime's output, so it would be no golden vector.
        RuntimeFailed, BadModel, BadData: the runtime refuses, or model and data do not fit.
        NotSimulated: nobody knows the runtime's rules.
    """
    graph = model.main
    check_installed([runtime])
    inputs = [array[: samples_for(graph, samples)] for array in inputs_of(model, batch)]
    if not inputs:
        raise BadData("the model has no inputs, so there is nothing to feed the data to")
    with started(runtime, timeout) as runner:
        rules = runner.known_rules
        runner.attend(model, inputs)
        seen = read_everything(model, inputs, runner)
    if seen.changed:
        raise NotConfirmed(f"{runtime} gives other outputs when the tensors between are read")
    values, (checked, _) = seen.values, compare_operators(graph, {rules: seen.values}, model.subgraphs)
    found = {result.index: result for result in checked[rules].operators}
    operators = tuple(_golden(graph, each, values, rules, found.get(each.index)) for each in graph.operators)
    made_by = {"command": "vectors", "model": str(model.path), "data": batch.source, "versions": versions()}
    return GoldenVectors(runtime, len(inputs[0]), operators, made_by)


def _golden(
    graph: Graph, operator: Operator, values: Mapping[int, Array], rules: Rules, checked: OperatorResult | None
) -> GoldenOperator:
    node = node_of(graph, operator)
    vectors = [*_tensors(node, values)]
    named = {vector.tensor.index for vector in vectors if vector.tensor is not None}
    lost = tuple(t.name for t in (*node.inputs, *node.outputs) if t is not None and t.index not in named)
    mismatches = None if checked is None else checked.mismatches
    golden = GoldenOperator(node, ran_by(node, rules), tuple(vectors), mismatches=mismatches, unreadable=lost)
    try:
        channels, clamp = _scaling(node, rules)
    except NoKernel:
        return golden
    return golden if lost else _with_sums(replace(golden, channels=channels, clamp=clamp))


def _scaling(node: Node, rules: Rules) -> tuple[tuple[Channel, ...], tuple[int, int]]:
    """How each channel is scaled, and the clamp behind.

    Raises:
        NoKernel: no sums of products in 8 bits, or none whose rule has a letter.
    """
    if isinstance(rules, Device):
        rule = rules.rule_of(node)
        runtime, own = kernel_by(rule, node)
        if own is not None:
            return channels_by(node, rule), clamp_of(node, runtime)
    else:
        runtime = rules
    kernel = kernel_of(node, runtime)
    return channels_of(node, kernel), clamp_of(node, kernel)


def _tensors(node: Node, values: Mapping[int, Array]) -> Iterator[Vector]:
    """Inputs, constants among them, and outputs, as far as they can be read."""
    in_products = node.operator.op in ACCUMULATE
    for position, tensor in enumerate(node.inputs):
        key = ROLES[position] if in_products and position < len(ROLES) else f"input_{position}"
        if tensor is not None and tensor.index in values:
            yield Vector(key, values[tensor.index], tensor)
        elif tensor is not None and tensor.is_constant and tensor.dtype != "string":
            yield Vector(key, dense_values(tensor), tensor)
    for position, tensor in enumerate(node.outputs):
        if tensor.index in values:
            yield Vector("output" if in_products else f"output_{position}", values[tensor.index], tensor)


def _with_sums(golden: GoldenOperator) -> GoldenOperator:
    """The same with multipliers, shifts and accumulators, which must lead to the output."""
    node, channels, clamp = golden.node, golden.channels, golden.clamp
    x, w, bias, y = (golden.array(key) for key in (*ROLES, "output"))
    assert x is not None
    assert w is not None
    assert y is not None
    assert clamp is not None
    try:
        sums = np.stack([accumulators(node, sample, w, bias) for sample in x]).reshape(y.shape)
    except (ValueError, IndexError, ArithmeticError) as error:
        name = f"{node.operator.op} #{node.operator.index}"
        raise BadModel(f"{name}: its tensors do not fit together ({error})") from error
    _confirm(node, scaled(sums, channels, zero_point_of(node.y), clamp), y)
    added = (
        Vector("multiplier", np.asarray([c.mantissa for c in channels], np.int32)),
        Vector("shift", np.asarray([c.shift for c in channels], np.int32)),
        Vector("scale", np.asarray([c.scale for c in channels], np.float64)),
        Vector("accumulator", sums.astype(np.int32)),
    )
    return replace(golden, vectors=(*golden.vectors, *added))


def scaled(sums: Array, channels: tuple[Channel, ...], zero_point: int, clamp: tuple[int, int]) -> Array:
    """Outputs from accumulators, by each channel's own rule. Shapes: (…, channels)."""
    y = np.empty(sums.shape, np.int64)
    for rounding in {channel.rounding for channel in channels}:
        of_rule = [i for i, channel in enumerate(channels) if channel.rounding is rounding]
        scales = np.asarray([channels[i].scale for i in of_rule], np.float64)
        y[..., of_rule] = requantize(sums[..., of_rule], scales, rounding)
    return (y + zero_point).clip(*clamp)


def _confirm(node: Node, mine: Array, theirs: Array) -> None:
    wrong = differing(mine, theirs.astype(np.int64))
    if wrong:
        raise NotConfirmed(
            f"{node.operator.op} #{node.operator.index}: {wrong:,} outputs of the runtime do not follow from the "
            "accumulators; quantdiff verify shows which operators differ with these versions"
        )
