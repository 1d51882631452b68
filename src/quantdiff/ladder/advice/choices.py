"""What can be kept finer, one choice a value, and the plan of a file with several of them made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.ops import RECODES, traits
from quantdiff.quant import Array

FLOAT, INT16, INT8, CHANNELS, RANGE, BIAS = "float", "int16", "int8", "per-channel", "range", "bias"
EQUALIZED, SETTLED = "equalized", "settled"
LEVELS = (FLOAT, INT16, INT8)
"""From fine to coarse."""
IN_A_RECIPE, IN_A_DENYLIST, IN_THE_FILE = (FLOAT, INT16, CHANNELS), (FLOAT,), (RANGE, BIAS, EQUALIZED)
"""The kinds that a recipe of a quantizer, the denylist of TensorFlow's converter and the file itself can take."""
INT16_MOST, BYTE_MOST = 32767, 255
INPUT, OUTPUT = -1, -2
"""Where an operator is meant: what hands an input in, and what takes an output."""
FIXED = ("SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION")
"""Ops whose output has the grid that TFLite's kernels expect."""


@dataclass(frozen=True, slots=True)
class Met:
    """What the reference's values reach at a tensor on this data: ends, also by channel, and some for percentiles.

    Shapes: some (values,), each of ends (channels,).
    """

    low: float
    high: float
    some: Array = field(compare=False, repr=False)
    ends: tuple[Array, Array] = field(default=(np.zeros(0), np.zeros(0)), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """One change. ``operators`` compute in float or int16; ``grids`` and ``constants`` take the place of the file's.

    ``scales`` are those of kernels that are stored anew, as they divide the kernel.

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
    scales: Mapping[int, Array] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.change}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A file's graph with other constants and grids, and which operators are ``finer``.

    ``scales`` are those of constants that are stored anew in integers; others make their operator one of floats.

    What an operator reads is as coarse as the coarser of the two, the one that made it and the one that reads it:
    converters put the step from one to the other between them. An output is as fine as the operator that makes it: so
    litert-quantizer leaves it, whatever is asked. ``own`` are grids that a tensor is put on at once.
    """

    switches: Switches
    constants: Mapping[int, Array] = field(default_factory=dict)
    grids: Mapping[int, Grid] = field(default_factory=dict)
    finer: Mapping[int, str] = field(default_factory=dict)
    own: Mapping[int, Grid] = field(default_factory=dict)
    scales: Mapping[int, Array] = field(default_factory=dict)

    def grid(self, tensor: int, reader: int) -> Grid | None:
        """The grid on which an operator reads a tensor; None for floats, and for what lies on it already."""
        file = self.switches.file
        if tensor not in self.grids:
            return None
        maker = file.graph.producer(tensor)
        made = self.level(INPUT if maker is None else maker.index)
        levels = made, made if reader == OUTPUT and maker is not None else self.level(reader)
        if tensor in file.copies and levels[0] == INT8:
            return None
        coarser = max(levels, key=LEVELS.index)
        return {FLOAT: None, INT16: wide(self.grids[tensor].ends), INT8: self.grids[tensor]}[coarser]

    def level(self, operator: int) -> str:
        """How fine an operator computes; one that restates floats as integers, or back, is as fine as its neighbour."""
        if operator >= 0 and self.switches.file.graph.operators[operator].op in RECODES:
            return FLOAT
        return self.finer.get(operator, INT8)


def rewritten(switches: Switches) -> Plan:
    """The file's graph in the reference's arithmetic."""
    setting = switches.rewritten
    return Plan(switches, setting.constants, own=setting.own)


def made(switches: Switches, choices: Sequence[Choice], ends: AbstractSet[int] = frozenset()) -> Plan:
    """The file with several choices made; ``ends`` (``INPUT``, ``OUTPUT``) are in float whatever is chosen."""
    finer = dict.fromkeys((i for c in choices if c.kind == INT16 for i in c.operators), INT16)
    finer |= dict.fromkeys((*(i for c in choices if c.kind == FLOAT for i in c.operators), *ends), FLOAT)
    constants = {i: v for c in choices for i, v in c.constants.items()}
    for operator in switches.file.operators:
        if operator.index in finer:
            constants |= dict(_own(switches, operator, weights=finer[operator.index] == FLOAT))
    grids = {i: g for c in choices for i, g in c.grids.items()}
    tied = {copy: g for i, g in grids.items() for copy in copies_of(switches, i)}
    scales = {i: s for c in choices for i, s in c.scales.items()}
    return Plan(switches, constants, {**switches.file.grids, **tied}, finer, {}, scales)


def copies_of(switches: Switches, tensor: int) -> Iterator[int]:
    """A tensor and those that copy it, however far."""
    waiting, found = [tensor], {tensor}  # a variable of a stream comes back to itself
    while waiting:
        yield (at := waiting.pop())
        made = {copy for reader in switches.file.graph.readers(at) for copy in reader.outputs}
        new = (made & switches.file.copies) - found
        found |= new
        waiting += sorted(new)


def users(switches: Switches, tensor: int) -> frozenset[int]:
    """The operators that must be finer so that a tensor can be: its producer and, through copies, its readers."""
    graph, found = switches.file.graph, set[int]()
    maker = graph.producer(tensor)
    found.add(INPUT if maker is None else maker.index)
    for at in copies_of(switches, tensor):
        found |= {OUTPUT} if graph.is_output(at) else set()
        found |= {reader.index for reader in graph.readers(at)}
    return frozenset(i for i in found if i < 0 or graph.operators[i].op not in RECODES)


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
        found += _ranges(switches, tensor, met, name)
    for operator in file.operators:
        own = dict(_own(switches, operator, weights=True))
        if any(file.graph.tensors[i].quant is not None for i in own):
            at = operator.outputs[0]
            name = switches.layer_of(at)
            found.append(Choice(FLOAT, "its weights in float", name, at, frozenset({operator.index})))
            finer, scales = per_channel(switches, operator)
            if finer:
                only = frozenset({operator.index})
                found.append(Choice(CHANNELS, "a scale per channel", name, at, only, {}, finer, scales))
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


def _ranges(switches: Switches, tensor: int, met: Mapping[int, Met], name: str) -> Iterator[Choice]:
    """Other ranges, where the file can hold them: no kernel expects this one, and all that share it get the new one."""
    graph, file = switches.file.graph, switches.file
    together = [i for i in shared(switches, tensor) if i in file.grids]
    held, own = file.grids[tensor], [i for i in together if i in file.varying]
    makers = [maker.op for i in together if (maker := graph.producer(i)) is not None]
    if min(own) != tensor or any(op in FIXED for op in makers) or any(file.grids[i] != held for i in together):
        return
    reached = [met[i] for i in own if i in met]
    if not reached:
        return
    low, high = min(each.low for each in reached), max(each.high for each in reached)
    for words, ends in candidates(Met(low, high, np.concatenate([each.some for each in reached])), held):
        grid = from_data(ends, held)
        if not grid.same(held):
            yield Choice(RANGE, f"range {words}", name, tensor, grids=dict.fromkeys(own, grid))


def shared(switches: Switches, tensor: int) -> frozenset[int]:
    """The tensors that must lie on one grid with a tensor, since operators between them want it so."""
    graph, found, waiting = switches.file.graph, set[int](), [tensor]
    while waiting:
        at = waiting.pop()
        if at in found:
            continue
        found.add(at)
        maker = graph.producer(at)
        for operator in (*graph.readers(at), *((maker,) if maker is not None else ())):
            known = traits(operator.op)
            if known.one_grid or known.joins:
                data = operator.inputs if known.joins else (operator.inputs[known.x],)
                waiting += [i for i in (*data, *operator.outputs) if i in switches.file.grids]
    return frozenset(found)


def candidates(met: Met, held: Grid) -> Iterator[tuple[str, tuple[float, float]]]:
    """Ranges of this data: from the smallest to the largest value, without 0.1 % at each end, and the nearest one."""
    yield "min/max of this data", (met.low, met.high)
    low, high = (float(each) for each in np.quantile(met.some, [0.001, 0.999]))
    yield "percentiles 0.1 … 99.9", (low, high)
    shrunk = [(part * met.low, part * met.high) for part in np.linspace(1, 0.2, 41)]
    yield "nearest to this data (MSE)", min(shrunk, key=lambda ends: _squared(met.some, from_data(ends, held)))


def _squared(values: Array, grid: Grid) -> float:
    return float(np.square(grid.bounded(values) - values).sum())


def wide(ends: tuple[float, float]) -> Grid:
    """A symmetric grid of 16 bits that holds both ends."""
    scale = max(abs(end) for end in ends) / INT16_MOST or 1.0
    return Grid(scale, 0, -INT16_MOST - 1, INT16_MOST)


def from_data(met: tuple[float, float], held: Grid) -> Grid:
    """A grid with as many integers as the file's, from the smallest to the largest value met, 0 on it.

    Kernels of int16 take no other zero point than 0.
    """
    low, high = min(met[0], 0.0), max(met[1], 0.0)
    if held.high > BYTE_MOST:
        return replace(held, scale=max(-low, high) / held.high or 1.0, zero_point=0)
    scale = (high - low) / (held.high - held.low) or 1.0
    zero_point = round(held.low - low / scale)
    return Grid(scale, int(np.clip(zero_point, held.low, held.high)), held.low, held.high, held.single)


def per_channel(found: Switches, operator: Operator) -> tuple[dict[int, Array], dict[int, Array]]:
    """A kernel with a scale for each output channel where it has one for all of them, and these where it is of int8.

    What else is constant has one: kernels that multiply or add take no more.
    """
    known = traits(operator.op)
    tensor = -1 if known.weights is None else operator.inputs[known.weights]
    match, held = found.matches.get(tensor), found.file.graph.tensors[tensor] if tensor >= 0 else None
    if match is None or match.value is None or held is None or held.quant is None or len(held.quant.scale) != 1:
        return {}, {}
    value = match.value
    others = tuple(k for k in range(value.ndim) if k != known.channel_axis)
    scale = np.maximum(np.abs(value).max(axis=others, keepdims=True) / 127, 1e-30).astype(np.float32)
    finer = {tensor: np.rint(value / scale) * scale.astype(np.float64)}
    return finer, {tensor: scale} if held.dtype == "int8" else {}
