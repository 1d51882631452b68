"""A file with several choices made: the plan, and what some samples give under plans that a runtime runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from operator import add
from pathlib import Path

import numpy as np

from quantdiff.compare.comparison import Counts, count
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.graph import Model, Operator
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.ops import RECODES, traits
from quantdiff.quant import Array, Trace
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inputs import Reach, bound_inputs
from quantdiff.run.runner import Runner

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
            constants |= dict(constants_of(switches, operator, weights=finer[operator.index] == FLOAT))
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


def constants_of(switches: Switches, operator: Operator, *, weights: bool) -> Iterator[tuple[int, Array]]:
    """The reference's constants of an operator; without ``weights`` its bias alone, which int16 stores in int64."""
    for tensor in operator.inputs:
        match = switches.matches.get(tensor)
        if match is not None and match.value is not None and (weights or tensor in switches.biases):
            yield tensor, match.value


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


@dataclass(frozen=True, slots=True)
class Planned:
    """Some plans as one file.

    Attributes:
        content: its bytes.
        inputs: for each of its inputs the place of the one among the file's that it is; one may stand there twice, in
            the file's integers and in floats.
        outputs: for each plan the places of its outputs.
    """

    content: bytes = field(repr=False)
    inputs: list[int]
    outputs: list[list[int]]


DEFAULT, HERE = "xnnpack", ("xnnpack", "builtin", "reference")


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of the samples, from number ``first`` on, and what both models gave for them.

    What is tried runs in ``trials``; ``own`` is the runtime of the file itself, the ``model``.
    """

    model: Model
    batch: Batch
    first: int
    reference: Trace
    candidate: Trace
    trials: Runner
    own: Runner
    tolerance: float
    metric: Metric | None = None

    def counted(self, trace: Trace) -> Counts:
        """Some outputs beside the reference's; integers are those of the file's grid."""
        counts = count(self.reference, trace, self.tolerance, self.candidate)
        (own,) = own_scores(self.metric, self.reference, [trace], self.batch.labels)
        return replace(counts, own=own)

    def beside(self, reference: Trace) -> Counts:
        """The file's outputs beside those of another reference."""
        return replace(self, reference=reference).counted(self.candidate)

    def fed(self, inputs: Sequence[int]) -> Batch:
        """The data for a file whose inputs are these of the model's."""
        arrays = bound_inputs(self.model, self.batch)
        return Batch({f"{place}": arrays[i] for place, i in enumerate(inputs)}, None, self.batch.source)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of some outputs in some of the samples; None for those that are undefined there.

    ``reaches``: how far the samples reach at each input, where that was asked.
    """

    each: tuple[Counts | None, ...]
    reaches: tuple[Reach, ...] = ()

    def __add__(self, other: Counted) -> Counted:
        both = zip(self.each, other.each, strict=True)
        each = (None if a is None or b is None else a + b for a, b in both)
        return Counted(tuple(each), tuple(map(add, self.reaches, other.reaches)))


@dataclass(frozen=True, slots=True)
class Tries:
    """Several plans in one file: they share what comes before the first change."""

    planned: Planned

    def answer(self, rows: Rows) -> Counted:
        """Each plan beside the reference; behind a tensor that is rounded to 0 there may be a root or a quotient."""
        return Counted(tuple(rows.counted(trace) if defined(trace) else None for trace in self.traces(rows)))

    def traces(self, rows: Rows) -> Iterator[Trace]:
        """For each plan the outputs."""
        found = trace_tflite(as_model(self.planned.content), rows.fed(self.planned.inputs), rows.trials)
        for each in self.planned.outputs:
            outputs = zip((found.outputs[k] for k in each), rows.candidate.outputs, strict=True)
            named = tuple(replace(value, name=own.name) for value, own in outputs)
            yield Trace("predicted", named, found.notes)


def tried_on(runtime: str) -> str:
    """The runtime on which changes to a file are tried: its own, where that is one of LiteRT's on this machine."""
    return runtime if runtime in HERE else DEFAULT


def defined(trace: Trace) -> bool:
    """Whether all outputs are numbers."""
    return all(np.isfinite(value.array).all() for value in trace.outputs)


def as_model(content: bytes) -> Model:
    """What was written here, as a model."""
    return replace(read_model(memoryview(content), Path("a changed copy")), content=content)
