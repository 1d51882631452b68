"""What can be kept finer, one choice a value, by what is met on some data, and what the file's weights shift."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.advice.plans import (
    BIAS,
    CHANNELS,
    EQUALIZED,
    FIXED,
    FLOAT,
    INPUT,
    INT16,
    OUTPUT,
    RANGE,
    Choice,
    constants_of,
    copies_of,
    from_data,
    per_channel,
)
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.ops import RECODES, traits
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading


@dataclass(frozen=True, slots=True)
class Met:
    """What the reference's values reach at a tensor on this data: ends, also by channel, and some for percentiles.

    Shapes: some (values,), each of ends (channels,).
    """

    low: float
    high: float
    some: Array = field(compare=False, repr=False)
    ends: tuple[Array, Array] = field(default=(np.zeros(0), np.zeros(0)), compare=False, repr=False)


def users(switches: Switches, tensor: int) -> frozenset[int]:
    """The operators that must be finer so that a tensor can be: its producer and, through copies, its readers."""
    graph, found = switches.file.graph, set[int]()
    maker = graph.producer(tensor)
    found.add(INPUT if maker is None else maker.index)
    for at in copies_of(switches, tensor):
        found |= {OUTPUT} if graph.is_output(at) else set()
        found |= {reader.index for reader in graph.readers(at)}
    return frozenset(i for i in found if i < 0 or graph.operators[i].op not in RECODES)


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
        own = dict(constants_of(switches, operator, weights=True))
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
