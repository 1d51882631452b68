"""What the reference's values reach on some data at every tensor of the file, and what the file's weights shift."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.advice.choices import BIAS, CHANNELS, EQUALIZED, FLOAT, RANGE, Choice, Met
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.ops import RECODES, traits
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading

KEPT = 2**16
"""Values of a tensor that are kept for percentiles."""


UNITS = 2**20
"""In a step of a tensor's grid: sums of as many parts are whole numbers, so that no order of the samples matters."""
FURTHEST = 2**40
"""Of these units: what lies beyond counts as much."""
SPREAD = 0x9E3779B1
"""Of one sample other values are kept than of the next one: 2**32 divided by the golden ratio."""


@dataclass(frozen=True, slots=True)
class Floats:
    """Where the floats of a tensor stand, and the step in which their sums are counted."""

    tensor: int
    step: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one tensor in some of the samples; those of others add up, in their order.

    Shapes: low and high (channels,), the last axis; some (values,); total, in units of ``step``, that of the tensor.
    """

    low: Array
    high: Array
    some: tuple[Array, ...]
    total: Array
    count: int
    step: float

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.some + other.some,
            self.total + other.total,
            self.count + other.count,
            self.step,
        )

    @property
    def mean(self) -> Array:
        """Over the samples. Shape: that of the tensor."""
        return np.asarray(self.total * (self.step / UNITS) / self.count)


def seen_in(values: Array, step: float, first: int, samples: int) -> Seen:
    """What values show, of ``samples`` in all. Shape: (samples from number ``first`` on, *shape of the tensor)."""
    by_channel = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    units = np.rint(values * (UNITS / step)).clip(-FURTHEST, FURTHEST)
    kept = _kept(values.reshape(len(values), -1), first, samples)
    return Seen(
        by_channel.min(axis=0), by_channel.max(axis=0), (kept,), units.astype(np.int64).sum(axis=0), len(values), step
    )


def _kept(flat: Array, first: int, samples: int) -> Array:
    """Some values of each sample, at equal distances. Shape: flat (samples, elements)."""
    apart = max(1, flat.shape[1] // max(1, KEPT // samples))
    start = np.arange(first, first + len(flat)) * SPREAD % 2**32 % apart
    places = start[:, None] + apart * np.arange(flat.shape[1] // apart)
    return np.asarray(np.take_along_axis(flat, places, axis=1).reshape(-1), np.float64)


def observed_tensors(switches: Switches) -> dict[int, Floats]:
    """Those that have grids of their own, and those that operators with a bias read; and where their floats stand."""
    file = switches.file
    read = {op.inputs[traits(op.op).x] for op in _with_bias(switches)}
    made = {i for op in file.operators for i in op.outputs} | set(file.graph.inputs)
    steps = {i: grid.scale for i, grid in file.grids.items()}
    return {i: Floats(_restated(switches, i), steps.get(i, 1.0)) for i in sorted((file.varying | read) & made)}


def _restated(switches: Switches, tensor: int) -> int:
    """The tensor that one restates as integers, or as floats again."""
    maker = switches.file.graph.producer(tensor)
    while maker is not None and maker.op in RECODES:
        tensor = maker.inputs[0]
        maker = switches.file.graph.producer(tensor)
    return tensor


def observe(
    wanted: Mapping[int, Floats],
    inputs: Sequence[int],
    readings: Generator[Reading, None, None],
    numbers: tuple[int, int],
) -> dict[int, Seen]:
    """What is met while the reference's arithmetic runs on the file's graph.

    ``numbers``: that of the first sample among all, and how many there are in all.
    """
    found, at = dict[int, Seen](), numbers[0]
    with closing(readings):
        for reading in readings:
            values = {**dict(zip(inputs, reading.inputs, strict=True)), **reading.values}
            for tensor, source in wanted.items():
                if source.tensor in values and values[source.tensor].size:
                    seen = seen_in(values[source.tensor], source.step, at, numbers[1])
                    found[tensor] = found[tensor] + seen if tensor in found else seen
            at += len(reading.rows)
    return found


def met_of(seen: Mapping[int, Seen]) -> dict[int, Met]:
    """Ends and some values of every tensor."""
    return {
        i: Met(float(each.low.min()), float(each.high.max()), np.concatenate(each.some), (each.low, each.high))
        for i, each in seen.items()
    }


def shifts_of(switches: Switches, seen: Mapping[int, Seen]) -> dict[int, Array]:
    """By bias of the file what takes back the mean error of its operator's rounded weights, for each channel.

    The operator is linear: its mean error is what the difference of the weights makes of the mean input, and the
    rounding of the bias itself (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction", 2019, section 4.2). Borders are counted as they are padded.
    """
    found, file = dict[int, Array](), switches.file
    for operator in _with_bias(switches):
        x, bias = operator.inputs[traits(operator.op).x], operator.inputs[traits(operator.op).bias or 0]
        own = {
            i: m.value for i in operator.inputs if (m := switches.matches.get(i)) is not None and m.value is not None
        }
        if x not in seen or bias not in own or len(own) < 2:  # noqa: PLR2004 (kernel and bias)
            continue
        wrong = {i: file.constants[i] - value for i, value in own.items()}
        bare = replace(operator, options={**operator.options, "fused_activation_function": "NONE"})
        try:
            (error,) = file.computed(bare, {x: seen[x].mean.reshape(1, *file.graph.tensors[x].shape)}, wrong)
        except (UnsupportedOp, ValueError):
            continue
        found[bias] = -error.reshape(-1, error.shape[-1]).mean(axis=0)
    return found


def _with_bias(switches: Switches) -> Iterator[Operator]:
    """The operators whose bias the file stores in int32."""
    for operator in switches.file.operators:
        place = traits(operator.op).bias
        if place is not None and place < len(operator.inputs) and operator.inputs[place] in switches.biases:
            tensor = switches.file.graph.tensors[operator.inputs[place]]
            if tensor.dtype == "int32" and tensor.quant is not None and not traits(operator.op).stateful:
                yield operator


def promising(switches: Switches, choices: Sequence[Choice], met: Mapping[int, Met], most: int) -> list[Choice]:
    """The choices that take away most of what tensors lose where they stand, as a part of their own power."""
    file = switches.file
    lost = {i: _part(each.some, file.grids[i]) for i, each in met.items() if i in file.varying}
    for i, match in switches.matches.items():
        if match.value is not None and match.value.dtype.kind == "f":
            lost[i] = _share(match.value, file.constants[i])

    def promise(choice: Choice) -> float:
        if choice.kind == RANGE:
            return lost[choice.at] - _part(met[choice.at].some, choice.grids[choice.at])
        if choice.kind in (BIAS, CHANNELS, EQUALIZED):
            return math.inf if choice.at < 0 else sum(_share(v, file.constants[i]) for i, v in choice.constants.items())
        weights = (i for k in choice.operators if k >= 0 for i in file.graph.operators[k].inputs)
        inside = sum(lost.get(i, 0.0) for i in weights if i in switches.matches) if choice.kind == FLOAT else 0.0
        return inside + (lost.get(choice.at, 0.0) if len(choice.operators) > 1 else 0.0)

    best = sorted(choices, key=lambda choice: -promise(choice))[:most]
    return [choice for choice in choices if any(choice is each for each in best)]


def _part(values: Array, grid: Grid) -> float:
    """What a grid takes from values."""
    return _share(values, grid.bounded(values))


def _share(values: Array, changed: Array) -> float:
    power = float(np.square(values).sum())
    return float(np.square(changed - values).sum()) / power if power else 0.0
