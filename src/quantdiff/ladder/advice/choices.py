"""What can be kept finer, one choice a value, and the setting under which several are made at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.cures import from_data, per_channel, wide
from quantdiff.ladder.real_graph import Grid, Setting
from quantdiff.ladder.switches import SWITCHES, Switches
from quantdiff.ops import traits
from quantdiff.quant import Array

FLOAT, INT16, CHANNELS, RANGE, BIAS = "float", "int16", "per-channel", "range", "bias"
IN_A_RECIPE, IN_A_DENYLIST, IN_THE_FILE = (FLOAT, INT16, CHANNELS), (FLOAT,), (RANGE, BIAS)
"""The kinds that a recipe of a quantizer, the denylist of TensorFlow's converter and the file itself can take."""
INPUT, OUTPUT = -1, -2
"""Where an operator is meant: what hands an input in, and what takes an output."""
FIXED = ("SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION")
"""Ops whose output has the grid that TFLite's kernels expect."""


@dataclass(frozen=True, slots=True)
class Met:
    """What the reference's values reach at a tensor on this data: ends, and some of them for percentiles."""

    low: float
    high: float
    some: Array = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """One change. ``operators`` compute in float or int16; ``grids`` and ``constants`` take the place of the file's.

    ``at`` is the tensor or the operator's output that it is named after, ``where`` that name; ``change`` says what is
    done there.
    """

    kind: str
    change: str
    where: str
    at: int
    operators: frozenset[int] = frozenset()
    grids: Mapping[int, Grid] = field(default_factory=dict, compare=False, repr=False)
    constants: Mapping[int, Array] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.change}"


def filed(switches: Switches) -> Setting:
    """The file as it is, the grids of its outputs too."""
    setting = switches.setting(frozenset(SWITCHES))
    ends = {i for i in switches.ends if i is not None}
    return replace(setting, clipped=setting.clipped | ends, rounded=setting.rounded | ends)


def users(switches: Switches, tensor: int) -> frozenset[int]:
    """The operators that must be finer so that a tensor can be: its producer and, through copies, its readers."""
    graph, found, waiting = switches.file.graph, set[int](), [tensor]
    maker = graph.producer(tensor)
    found.add(INPUT if maker is None else maker.index)
    while waiting:
        at = waiting.pop()
        found |= {OUTPUT} if graph.is_output(at) else set()
        for reader in graph.readers(at):
            found.add(reader.index)
            waiting += [i for i in reader.outputs if i in switches.file.copies]
    return frozenset(found)


def made(switches: Switches, choices: Sequence[Choice]) -> Setting:
    """The file with several choices made.

    A tensor is in float where all who make and read it are, in int16 where they are at least that.
    """
    setting, file = filed(switches), switches.file
    floats = frozenset[int]().union(*(c.operators for c in choices if c.kind == FLOAT))
    wides = frozenset[int]().union(*(c.operators for c in choices if c.kind == INT16)) - floats
    constants = {i: v for c in choices for i, v in c.constants.items()}
    grids = {i: g for c in choices for i, g in c.grids.items()}
    for operator in file.operators:
        if operator.index in floats | wides:
            constants |= dict(_own(switches, operator, weights=operator.index in floats))
    off = set[int]()
    for tensor in file.varying if floats | wides else ():
        around = users(switches, tensor)
        if around <= floats:
            off.add(tensor)
        elif around <= floats | wides:
            grids[tensor] = wide(file.grids[tensor].ends)
    return replace(
        setting, constants=constants, grids=grids, clipped=setting.clipped - off, rounded=setting.rounded - off
    )


def _own(switches: Switches, operator: Operator, *, weights: bool) -> Iterator[tuple[int, Array]]:
    """The reference's constants of an operator; without ``weights`` its bias alone, which int16 stores in int64."""
    for tensor in operator.inputs:
        match = switches.matches.get(tensor)
        if match is not None and match.value is not None and (weights or tensor in switches.biases):
            yield tensor, match.value


def choices_of(switches: Switches, met: Mapping[int, Met], shifts: Mapping[int, Array]) -> list[Choice]:
    """Everything that may be changed, in the file's order.

    ``met``: by tensor what the reference's values reach. ``shifts``: by bias what corrects it, in real units.
    """
    found, file = list[Choice](), switches.file
    for tensor in sorted(file.varying):
        around, name = users(switches, tensor), switches.layer_of(tensor)
        found += [Choice(kind, _words(kind), name, tensor, around) for kind in (FLOAT, INT16)]
        found += _ranges(switches, tensor, met.get(tensor), name)
    for operator in file.operators:
        own = dict(_own(switches, operator, weights=True))
        if own:
            at = operator.outputs[0]
            name = switches.layer_of(at)
            found.append(Choice(FLOAT, "its weights in float", name, at, frozenset({operator.index})))
            if finer := per_channel(switches, operator):
                found.append(Choice(CHANNELS, "a scale per channel", name, at, frozenset({operator.index}), {}, finer))
    for bias, shift in shifts.items():
        (reader, *_) = file.graph.readers(bias)
        corrected = {bias: corrected_bias(switches, bias, shift)}
        found.append(
            Choice(BIAS, "bias corrected", switches.layer_of(reader.outputs[0]), reader.outputs[0], constants=corrected)
        )
    if len(shifts) > 1:
        together = {bias: corrected_bias(switches, bias, shift) for bias, shift in shifts.items()}
        found.append(Choice(BIAS, "all of them corrected", "biases", -1, constants=together))
    return found


def corrected_bias(switches: Switches, bias: int, shift: Array) -> Array:
    """A bias with something added, on its own int32 grid, in real units."""
    tensor = switches.file.graph.tensors[bias]
    assert tensor.quant is not None
    scale = np.asarray(tensor.quant.scale, np.float64)
    return np.asarray(np.rint((switches.file.constants[bias] + shift) / scale) * scale)


def _words(kind: str) -> str:
    return "in float" if kind == FLOAT else "in int16"


def _ranges(switches: Switches, tensor: int, met: Met | None, name: str) -> Iterator[Choice]:
    """Other ranges, where the file can hold them: no kernel expects this one, and it is not joined with others."""
    graph, held = switches.file.graph, switches.file.grids[tensor]
    maker = graph.producer(tensor)
    tied = [op for i in users(switches, tensor) if i >= 0 and traits((op := graph.operators[i]).op).joins]
    if met is None or tied or (maker is not None and maker.op in FIXED):
        return
    for words, ends in candidates(met, held):
        grid = from_data(ends, held)
        if not grid.same(held):
            yield Choice(RANGE, f"range {words}", name, tensor, grids={tensor: grid})


def candidates(met: Met, held: Grid) -> Iterator[tuple[str, tuple[float, float]]]:
    """Ranges of this data: from the smallest to the largest value, without 0.1 % at each end, and the nearest one."""
    yield "min/max of this data", (met.low, met.high)
    low, high = (float(each) for each in np.quantile(met.some, [0.001, 0.999]))
    yield "percentiles 0.1 … 99.9", (low, high)
    shrunk = [(part * met.low, part * met.high) for part in np.linspace(1, 0.2, 41)]
    yield "nearest to this data (MSE)", min(shrunk, key=lambda ends: _squared(met.some, from_data(ends, held)))


def _squared(values: Array, grid: Grid) -> float:
    return float(np.square(grid.clipped(grid.rounded(values)) - values).sum())
