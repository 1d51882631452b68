"""What is known of one quantizer on both sides: what the file says of its tensor, and what explains a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from quantdiff.align.alignment import Alignment, TensorPair
from quantdiff.graph import Graph, Tensor, real_values
from quantdiff.lazy import Shown
from quantdiff.nudge import Nudged
from quantdiff.ops import Layer, TrainedRange
from quantdiff.parameters.inspection import is_symmetric_weight
from quantdiff.quant import INTEGER_RANGE, Array, real_range


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


BIAS_DTYPES = ("int32", "int64")


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Both models, how they belong together, and what the data showed."""

    layers: Sequence[Layer]
    graph: Graph
    alignment: Alignment
    observed: Observed

    @property
    def lost(self) -> tuple[tuple[str, str], ...]:
        """What of the layers has no tensor in the file: (layer, role)."""
        pairs = self.alignment.pairs
        found = {(pair.layer, pair.role) for pair in pairs} | {(name, "output") for p in pairs for name in p.fused[:-1]}
        places = self.alignment.reference.by_key()
        inside = (places[key].path for match in self.alignment.matches for key in match.reference_inside)
        found |= {(name, "output") for name in inside}
        return tuple(place for layer in self.layers for place in _places(layer) if place not in found)

    @property
    def lone(self) -> tuple[Tensor, ...]:
        """The quantized tensors of the file that no layer claims."""
        taken = {pair.tensor for pair in self.alignment.pairs}
        used = {*self.graph.inputs, *(i for op in self.graph.operators for i in (*op.inputs, *op.outputs))}
        free = used - taken
        return tuple(t for t in self.graph.tensors if t.index in free and t.quant is not None)

    def chain(self, layer: Layer, pair: TensorPair | None) -> tuple[Layer, ...]:
        """The layers that the pair's operator computes together; without a pair the layer alone."""
        names = () if pair is None else pair.fused
        return tuple(each for each in self.layers if each.name in names) or (layer,)


def _places(layer: Layer) -> Iterator[tuple[str, str]]:
    if layer.kernel is not None:
        yield layer.name, "kernel"
    if layer.bias is not None:
        yield layer.name, "bias"
    if layer.kind != "InputLayer":
        yield layer.name, "output"


def with_file(row: Row, sides: ModelPair, tensor: Tensor) -> Row:
    """The row with all that the file says of ``tensor``, and what was observed of it."""
    row = replace(row, tensor=tensor.name)
    if tensor.stored_min and tensor.stored_max:
        row = replace(row, stored=Range(tensor.stored_min, tensor.stored_max))
    if (seen := sides.observed.tensors.get(tensor.index)) is not None:
        row = replace(row, tflite=seen.ends)
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return row
    if is_bias(tensor):  # what an int32 could hold says nothing about a bias: its values do
        values = range_of(real_values(tensor))
        return replace(row, file=Range(values.low, values.high, tensor.quant.scale, tensor.quant.zero_point))
    if tensor.is_constant and tensor.data is not None and tensor.data.shape == tensor.shape:
        row = replace(row, tflite=range_of(real_values(tensor), tensor.quant.axis))
    ends = real_range(tensor.quant, tensor.dtype, narrow=is_symmetric_weight(tensor))
    return replace(row, file=Range(*ends, tensor.quant.scale, tensor.quant.zero_point))


def is_bias(tensor: Tensor) -> bool:
    """True for constants of the accumulator's types."""
    return tensor.is_constant and tensor.dtype in BIAS_DTYPES


def of_own_grid(trained: TrainedRange) -> Range | None:
    """What a quantizer itself says that it made of its range; None for one whose range says all."""
    if trained.grid is None:
        return None
    params = trained.grid.params
    ends = real_range(params, trained.grid.dtype, narrow=trained.narrow)
    return Range(*ends, params.scale, params.zero_point)


def as_ends(nudged: Nudged) -> Range:
    """A rule's arrays as tuples."""
    low, high, scale, zero_point = (np.ravel(x).tolist() for x in nudged)
    return Range(tuple(low), tuple(high), tuple(scale), tuple(zero_point))


INITIAL = (-6.0, 6.0)  # where TFMOT's quantizers begin
SETTLED = 0.5  # share of the joined interval that range and data have in common
SAME_SCALE = 2e-6  # relative: batch norm's factor is float32 in the converter
VISIBLE = 1e-3  # steps
AVERAGED = "MovingAverageQuantizer"
UNTRAINED = Reason("never trained", "never trained: still at −6 and 6")
OWN_RANGE = Reason("own range", "the range of the weights themselves")
SCALED = Reason("folded scale", "a scale of the inputs is folded in, channel by channel")
SLOPE = Reason("folded slope", "the slope of its activation is folded in")
OWN_FOLDED = "folded batch norm: quantized anew by the range of the folded weights"
RELUS = ("relu", "relu6")


LOST = Reason("no counterpart", "no counterpart in the file")


def range_reasons(row: Row, trained: TrainedRange, activation: str, shared: str | None) -> Iterator[Reason]:
    """For an activation's row: how the file's range comes about, then what is wrong with the range itself.

    ``shared`` is the operator that makes this tensor take its scale.
    """
    reason = _how(row, trained)
    if reason.code == "range differs" and shared:
        reason = Reason(reason.code, f"{reason.text}: it has the scale of its {shared}")
    yield reason
    if _is_initial(trained):
        yield UNTRAINED
    elif trained.quantizer == AVERAGED:
        yield from _unsettled(row, trained, activation)


def kernel_reasons(row: Row, trained: TrainedRange | None, own: Range | None) -> Iterator[Reason]:
    """For a kernel's row; ``own`` is the range that the weights themselves span, folded."""
    by_itself = own is not None and row.file is not None and _same(own, row.file)
    if trained is None:
        yield OWN_RANGE if by_itself else Reason("no counterpart", "no quantizer in the reference")
        return
    reason = _how(row, trained)
    if reason.code == "range differs" and by_itself:
        reason = Reason("folded batch norm", OWN_FOLDED) if row.folded is not None else OWN_RANGE
    yield reason
    if _is_initial(trained):
        yield UNTRAINED


def _is_initial(trained: TrainedRange) -> bool:
    return any(ends == INITIAL for ends in zip(trained.low, trained.high, strict=True))


def bias_reason(own: Array, stored: Array, scale: Array, *, folded: bool) -> Reason:
    """For a bias: float on one side, int32 on the other; ``scale`` fits both."""
    units = float(np.max(np.abs(own - stored) / scale))
    if units == 0:
        return Reason("equal", "equal")
    where = "folded batch norm, then " if folded else ""
    if units <= 0.5 + SAME_SCALE * float(np.max(np.abs(stored) / scale)) + VISIBLE:
        return Reason("int32 grid", f"{where}rounded to the int32 grid, off by ≤ {units:.2f} units")
    return Reason("range differs", f"{where}differs by up to {units:.4g} int32 units")


def _how(row: Row, trained: TrainedRange) -> Reason:
    """How the file's range comes from the variables; a symmetric quantizer that names its grid has made it of these."""
    if row.file is None:
        return LOST if row.tensor is None else Reason("no counterpart", "float in the file")
    assert row.direct is not None
    symmetric = trained.grid is not None and trained.narrow
    direct = (row.nudged if symmetric else row.folded) or row.direct
    if row.converter is not None and _same(row.converter, row.file):
        moved = steps(direct, row.file)
        if row.folded is not None:
            return Reason("folded batch norm", "folded batch norm: range × |gamma/√(var+ε)|")
        return (
            Reason("equal", "equal") if moved <= VISIBLE else Reason("nudge only", f"nudge only, by {moved:.2f} steps")
        )
    if len(direct.low) not in (1, len(row.file.scale)):
        return Reason("range differs", f"range differs: {len(direct.low)} ranges, {len(row.file.scale)} in the file")
    return Reason("range differs", f"range differs by {steps(direct, row.file):.4g} steps")


def _same(expected: Range, stored: Range) -> bool:
    return (
        len(expected.scale) == len(stored.scale)
        and bool(np.allclose(expected.scale, stored.scale, rtol=SAME_SCALE, atol=0))
        and expected.zero_point == stored.zero_point
    )


def steps(a: Range, b: Range) -> float:
    """The largest distance between two ends of ``a`` and ``b``, in steps of ``b``."""
    distances = [np.abs(np.subtract(p, q)) for p, q in ((a.low, b.low), (a.high, b.high))]
    return float(np.max(np.maximum(*distances) / np.asarray(b.scale)))


def _unsettled(row: Row, trained: TrainedRange, activation: str) -> Iterator[Reason]:
    low, high = trained.low[0], trained.high[0]
    step = (high - low) / (2**trained.bits - 1)
    if activation in RELUS and low < -step / 2:
        wasted = -low / (high - low)
        yield Reason("not settled", f"moving average not settled: {wasted:.0%} of the codes lie below the ReLU")
        return
    seen = row.by_hand or row.keras
    if seen is None:
        return
    common = min(high, seen.high[0]) - max(low, min(seen.low[0], 0.0))
    joined = max(high, seen.high[0]) - min(low, seen.low[0], 0.0)
    if common < SETTLED * joined:
        ends = f"{seen.low[0]:.4g} … {seen.high[0]:.4g}"
        yield Reason("not settled", f"moving average not settled: the data reach {ends}")
