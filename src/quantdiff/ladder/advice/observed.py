"""What the reference's values reach on some data at every tensor of the file, and what the file's weights shift."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

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


@dataclass(slots=True)
class Seen:
    """Of one tensor, while the data pass by; ``low`` and ``high`` by channel, the last axis."""

    low: Array = field(default_factory=lambda: np.asarray(np.inf))
    high: Array = field(default_factory=lambda: np.asarray(-np.inf))
    some: list[Array] = field(default_factory=list)
    total: Array | None = None
    count: int = 0

    def add(self, values: Array, kept: int) -> None:
        """Some samples. Shape: (samples, *shape of the tensor)."""
        by_channel = values.reshape(-1, values.shape[-1])
        self.low, self.high = (
            np.minimum(self.low, by_channel.min(axis=0)),
            np.maximum(self.high, by_channel.max(axis=0)),
        )
        flat = values.reshape(-1)
        self.some.append(flat[:: max(1, flat.size // max(1, kept))].astype(np.float64))
        total = values.sum(axis=0, dtype=np.float64)
        self.total = total if self.total is None else self.total + total
        self.count += len(values)

    @property
    def mean(self) -> Array:
        """Over the samples. Shape: that of the tensor."""
        assert self.total is not None
        return np.asarray(self.total / self.count)


def observed_tensors(switches: Switches) -> dict[int, int]:
    """Those that have grids of their own, and those that operators with a bias read; and where their floats stand."""
    file = switches.file
    read = {op.inputs[traits(op.op).x] for op in _with_bias(switches)}
    made = {i for op in file.operators for i in op.outputs} | set(file.graph.inputs)
    return {i: _restated(switches, i) for i in sorted((file.varying | read) & made)}


def _restated(switches: Switches, tensor: int) -> int:
    """The tensor that one restates as integers, or as floats again."""
    maker = switches.file.graph.producer(tensor)
    while maker is not None and maker.op in RECODES:
        tensor = maker.inputs[0]
        maker = switches.file.graph.producer(tensor)
    return tensor


def observe(switches: Switches, readings: Generator[Reading, None, None], samples: int) -> dict[int, Seen]:
    """What is met while the reference's arithmetic runs on the file's graph."""
    found, wanted = dict[int, Seen](), observed_tensors(switches)
    with closing(readings):
        for reading in readings:
            values = {**dict(zip(switches.file.graph.inputs, reading.inputs, strict=True)), **reading.values}
            kept = KEPT * len(reading.rows) // max(1, samples)
            for tensor, source in wanted.items():
                if source in values and values[source].size:
                    found.setdefault(tensor, Seen()).add(values[source], kept)
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
    return _share(values, grid.clipped(grid.rounded(values)))


def _share(values: Array, changed: Array) -> float:
    power = float(np.square(values).sum())
    return float(np.square(changed - values).sum()) / power if power else 0.0
