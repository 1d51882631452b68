"""What is known of one quantizer on both sides, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from quantdiff.lazy import Shown
from quantdiff.quant import Array


@dataclass(frozen=True, slots=True)
class Range:
    """Min and max, one entry per tensor or per channel, with scale and zero point where there are any."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the two sides differ, or that they do not: a fixed ``code``, and the same in words with its number."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One quantizer of one layer, on both sides; what a side does not have is None.

    ``direct`` are the QAT model's variables (of a bias: its values), ``folded`` the same times the batch norm's factor.
    ``nudged`` is what TF's fake-quant makes of ``direct``, ``converter`` what the TFLite converter stores for it.
    ``file`` comes from scale and zero point (of a bias: from its values), ``stored`` is the min and max in the file.
    ``keras`` and ``tflite`` are what was observed on the data; ``by_hand`` is before the output's quantizer.
    """

    layer: str
    quantizer: str
    role: str
    tensor: str | None = None
    direct: Range | None = None
    folded: Range | None = None
    nudged: Range | None = None
    converter: Range | None = None
    file: Range | None = None
    stored: Range | None = None
    keras: Range | None = None
    tflite: Range | None = None
    by_hand: Range | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def name(self) -> str:
        """``quant_dense/kernel``."""
        return f"{self.layer}/{self.quantizer}"


class Extent:
    """The smallest and the largest value seen so far."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def add(self, values: Array) -> None:
        """Look at more values."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def __add__(self, other: Extent) -> Extent:
        both = Extent()
        both.low, both.high = min(self.low, other.low), max(self.high, other.high)
        return both

    @property
    def ends(self) -> Range | None:
        """Both, or None where nothing was seen."""
        return Range((self.low,), (self.high,)) if self.low <= self.high else None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the data showed: extents of layers, of tensors (real units), and of what was computed by hand, by layer.

    ``engines`` are the runs that showed it, such as ``qat`` and ``tflite:xnnpack``; ``changed`` outputs are others
    because inner values were read.
    """

    layers: Mapping[str, Extent] = field(default_factory=dict)
    tensors: Mapping[int, Extent] = field(default_factory=dict)
    by_hand: Mapping[str, Extent] = field(default_factory=dict)
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: int = 0

    def __add__(self, other: Observed) -> Observed:
        """Of both parts of the data."""
        return Observed(
            _widened(self.layers, other.layers),
            _widened(self.tensors, other.tensors),
            _widened(self.by_hand, other.by_hand),
            tuple(dict.fromkeys(self.engines + other.engines)),
            tuple(dict.fromkeys(self.notes + other.notes)),
            self.changed + other.changed,
        )


K = TypeVar("K")


def _widened(ours: Mapping[K, Extent], theirs: Mapping[K, Extent]) -> dict[K, Extent]:
    return {key: ours.get(key, Extent()) + theirs.get(key, Extent()) for key in (*ours, *theirs)}


def range_of(values: Array, axis: int | None = None) -> Range:
    """Smallest and largest value, or per slice along ``axis``."""
    if axis is None:
        return Range((float(values.min()),), (float(values.max()),))
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    return Range(tuple(values.min(axis=others).tolist()), tuple(values.max(axis=others).tolist()))


@dataclass(frozen=True, slots=True)
class ZeroCheck:
    """What fake-quant made of 0.0 for one quantizer's range, and on which device; 0.0 is right."""

    kind: str
    quantizer: str
    low: float
    high: float
    device: str
    value: float


@dataclass(frozen=True, slots=True)
class Parameters(Shown):
    """The whole answer of ``params``: the rows, what found no partner on each side, and how it came about.

    ``accuracy`` (by engine), ``zero_checks`` and ``devices`` belong to the experiment, ``params --model``.
    ``warnings`` are what a reader must know of the data.
    """

    rows: tuple[Row, ...]
    only_reference: tuple[str, ...] = ()
    only_tflite: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    zero_checks: tuple[ZeroCheck, ...] = ()
    devices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
