"""A quantization-aware model as its file has it: biases on the int32 grid, quantizers on the grids of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.align.alignment import Alignment
from quantdiff.graph import Model, real_values
from quantdiff.ladder.advice.plans import SETTLED, Choice
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import in_slices, real_inputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.nudge import nudge_fake_quant
from quantdiff.ops import OUTPUT_RANGES, Layer
from quantdiff.parameters.constants import folded_bias
from quantdiff.quant import Array, Trace, Value

BEFORE = "pre_activation"
SAME = 2.0**-10
"""Steps that two ends of a range may lie apart."""
Variables = Mapping[str, Mapping[str, Array]]
"""By layer, and by the last part of a variable's name, what it is to hold."""


@dataclass(frozen=True, slots=True)
class Settling:
    """What is changed in a trained model: in words, in its variables, and in its graph."""

    choices: tuple[Choice, ...] = ()
    variables: Variables = field(default_factory=dict, repr=False)


def settling(switches: Switches, layers: Sequence[Layer], alignment: Alignment) -> Settling:
    """Everything in which the trained model is not what the file holds, weights aside."""
    choices, variables = list[Choice](), dict[str, dict[str, Array]]()
    named = {layer.name: layer for layer in layers}
    for layer in layers:
        found = (*_bias(switches, layer, named, alignment), *_ranges(switches, layer, alignment))
        for choice, (owner, values) in found:
            choices.append(choice)
            variables.setdefault(owner, {}).update(values)
    return Settling(tuple(choices), variables)


Found = tuple[Choice, tuple[str, dict[str, Array]]]


def _bias(switches: Switches, layer: Layer, named: Mapping[str, Layer], alignment: Alignment) -> Iterator[Found]:
    """The file's bias, in the layer or, where batch norm is folded into it, in that one's ``beta``."""
    pair = alignment.find(layer.name, "bias")
    if pair is None or pair.tensor not in switches.biases or layer.op not in ("FULLY_CONNECTED", *_CONVOLUTIONS):
        return
    stored = real_values(switches.file.graph.tensors[pair.tensor])
    chain = [named[name] for name in pair.fused if name in named] or [layer]
    held, norms = folded_bias(chain), [each for each in chain if each.norm is not None]
    if held is None or held.shape != stored.shape or np.array_equal(held.astype(np.float32), np.float32(stored)):
        return
    owner, name, now = (norms[-1], "beta", norms[-1].norm.beta) if norms else (chain[0], "bias", chain[0].bias)  # type: ignore[union-attr]
    if now is None:
        return
    choice = Choice(SETTLED, "bias on the int32 grid", layer.name, pair.tensor, constants={pair.tensor: stored})
    yield choice, (owner.name, {name: np.asarray(now + (stored - held), np.float32)})


_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def _ranges(switches: Switches, layer: Layer, alignment: Alignment) -> Iterator[Found]:
    """The file's grid, where a quantizer makes another one of its range."""
    for trained in layer.ranges:
        role = BEFORE if trained.name == BEFORE else "output" if trained.name in OUTPUT_RANGES else ""
        pair = alignment.find(layer.name, role) if role else None
        grid = None if pair is None else switches.file.grids.get(pair.tensor)
        if pair is None or grid is None or pair.tensor not in switches.own or len(trained.low) != 1:
            continue
        nudged = nudge_fake_quant(np.array(trained.low), np.array(trained.high), bits=trained.bits)
        ends = float(nudged.low[0]), float(nudged.high[0])
        if max(abs(a - b) for a, b in zip(ends, grid.ends, strict=True)) <= SAME * grid.scale:
            continue
        values = {f"{trained.name}_{end}": np.float32(x) for end, x in zip(("min", "max"), grid.ends, strict=True)}
        choice = Choice(SETTLED, "range of the file", layer.name, pair.tensor, grids={pair.tensor: grid})
        yield choice, (layer.name, {name: np.asarray(value) for name, value in values.items()})


def trace_snapped(lowering: Model, converted: Model, batch: Batch, names: tuple[str, ...]) -> Trace:
    """Outputs of the lowered model, each bias as ``converted`` stores it; a bias that the file has not stays.

    Where a batch norm is folded in, that is the folded bias. Shapes: (samples, …), float32.

    Raises:
        UnsupportedOp: a graph holds what has no real arithmetic.
    """
    found = switches(converted, lowering)
    real, plain = found.reference.real, found.lowered_setting()
    stored = {
        match.other: found.file.constants[i].reshape(real.constants[match.other].shape)
        for i, match in found.matches.items()
        if i in found.biases and match.other is not None
    }
    setting = Setting(stored, {}, plain.clipped, plain.rounded)
    values = in_slices(real, real_inputs(lowering, batch), setting, real.graph.outputs)
    arrays = (values[i].astype(np.float32) for i in real.graph.outputs)
    joined = tuple(Value(name, array.reshape(-1, *array.shape[2:])) for name, array in zip(names, arrays, strict=True))
    return Trace("qat-bias", joined)
