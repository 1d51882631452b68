"""Alignment: who belongs to whom, as values; of the outputs first. Every command shows these pairs, by these names.

And how far two values are apart, beyond what quantization explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.load.data import Order, turned
from quantdiff.quant import INTEGER_RANGE, Array, Grid, Trace, Value, dequantize, real_range
from quantdiff.recording import Flow, FlowValue

BEFORE = "pre_activation"


@dataclass(frozen=True, slots=True)
class Match:
    """A value of the reference and one of the candidate, by their keys.

    Attributes:
        reference: the key of the one.
        candidate: the key of the other.
        found_by: ``name``, ``structure`` or ``values``.
        distance: that of the values (see ``Agreement``).
        confirmed: by what: ``values`` as they are; ``local`` values, the reference fed with the candidate's input; the
            ``next`` pair's local values; ``place``: an input or output, which belongs to the other by its place; or
            ``flat``: they hardly vary, so they do not contradict and cannot confirm.
        kernel: whether the weights agree, None where there are none to compare.
        reference_inside: the values that were computed on the way from the matches before.
        candidate_inside: the same on the other side.
        order: how the reference's axes, samples aside, are turned to be the candidate's; () where they are the same.
    """

    reference: int
    candidate: int
    found_by: str
    distance: float
    confirmed: str = "values"
    kernel: bool | None = None
    reference_inside: tuple[int, ...] = ()
    candidate_inside: tuple[int, ...] = ()
    order: Order = ()

    @property
    def keys(self) -> tuple[int, int]:
        """Reference and candidate."""
        return self.reference, self.candidate


@dataclass(frozen=True, slots=True)
class TensorPair:
    """What a layer has and the tensor of the file that it became.

    Attributes:
        layer: the layer's path.
        role: ``kernel``, ``bias``, ``output``, or ``pre_activation`` where an activation is an operator of its own.
        tensor: the tensor's index; of a kernel behind DEQUANTIZE the stored one.
        operator: makes the tensor or takes the weights; None for an input of the file.
        found_by: as in ``Match``.
        fused: the layers that one operator computes together, the one with the kernel first.
        confirmed: whether weights agree, None where there are none to compare.
        scaled: the kernel holds a factor for each input channel: a scale in front is folded into it.
        slope: the factor that is folded in from the activation behind, such as 0.2 of a hard sigmoid.
    """

    layer: str
    role: str
    tensor: int
    operator: int | None
    found_by: str
    fused: tuple[str, ...] = ()
    confirmed: bool | None = None
    scaled: bool = False
    slope: float = 1.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A value without a partner, and why."""

    key: int
    name: str
    op: str
    why: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """Both models as flows, how they go together, and what is left on both sides.

    Attributes:
        reference: the one flow.
        candidate: the other.
        matches: pairs of values, in the reference's order.
        pairs: the same by layer and tensor, with kernels and biases.
        only_reference: values without a partner.
        only_candidate: likewise.
        unrelated: why the two are not made from each other, in words; empty where they are. Of unrelated models only
            the matches that agree are kept.
        at_once: how many samples fit into memory with all inner values.
    """

    reference: Flow
    candidate: Flow
    matches: tuple[Match, ...] = ()
    pairs: tuple[TensorPair, ...] = ()
    only_reference: tuple[Leftover, ...] = ()
    only_candidate: tuple[Leftover, ...] = ()
    unrelated: str = ""
    at_once: int = 1

    def values(self) -> list[tuple[FlowValue, FlowValue]]:
        """The matched values, in the order of the matches."""
        ours, theirs = self.reference.by_key(), self.candidate.by_key()
        return [(ours[match.reference], theirs[match.candidate]) for match in self.matches]

    def grids(self) -> list[Grid | None]:
        """The integers that each match is counted on: the candidate's, else the reference's."""
        return [theirs.grid or ours.grid for ours, theirs in self.values()]

    def find(self, layer: str, role: str) -> TensorPair | None:
        """The pair of a layer's kernel, bias or output; of a layer that is called twice that of the first call."""
        return next((pair for pair in self.pairs if (pair.layer, pair.role) == (layer, role)), None)


def output_pairs(flows: tuple[Flow, Flow], matches: tuple[Match, ...]) -> Iterator[TensorPair]:
    """The matches by layer and tensor."""
    ours, theirs = (flow.by_key() for flow in flows)
    for match in matches:
        mine, other = ours[match.reference], theirs[match.candidate]
        inside = (ours[key].path for key in match.reference_inside if ours[key].op != "input")
        fused = tuple(dict.fromkeys((*inside, mine.path))) if other.is_weighted else ()
        role = BEFORE if mine.name.endswith(f"/{BEFORE}") else "output"
        yield TensorPair(mine.path, role, other.key, other.operator, match.found_by, fused)


TRIED_AT_MOST = 6  # outputs; 720 orders

Pairs = tuple[tuple[Value, Value], ...]


def pair_outputs(reference: Trace, candidate: Trace) -> tuple[Pairs, tuple[str, ...]]:
    """Pairs in the reference's order, and what a reader should know about how they were found.

    Raises:
        NotComparable: another number of outputs, or no order in which the shapes fit.
    """
    ours, theirs = reference.outputs, candidate.outputs
    if len(ours) != len(theirs):
        raise NotComparable(
            f"{reference.engine} has {len(ours)} output(s), {candidate.engine} has {len(theirs)}; "
            "these models are not made from each other"
        )
    sides = (([value.name for value in each], [value.real for value in each]) for each in (ours, theirs))
    order = order_of_outputs(*sides)
    if order is None:
        raise NotComparable(
            f"output shapes differ: {reference.engine} gives {_shapes(ours)}, "
            f"{candidate.engine} gives {_shapes(theirs)}"
        )
    named = {plain(value.name) for value in ours} == {plain(value.name) for value in theirs}
    alike = len({_squeezed(value.array) for value in ours}) < len(ours)
    note = "outputs have the same shapes and other names; paired by the smallest difference of values"
    return tuple((value, theirs[at]) for value, at in zip(ours, order, strict=True)), (note,) * (alike and not named)


Side = tuple[Sequence[str], Sequence[Array]]


def order_of_outputs(ours: Side, theirs: Side) -> tuple[int, ...] | None:
    """For each output of the one side (names, real values) the number of the other's; None where no order fits.

    By name where both sides use the same names (TFMOT's ``quant_`` aside), else by shape. Converters reorder
    outputs, so where several orders fit the shapes the one with the smallest difference of values is taken.
    """
    (names, values), (others, those) = ours, theirs
    named = {plain(name): i for i, name in enumerate(others)}
    if len(named) == len(others) and {plain(name) for name in names} == set(named):
        by_name = tuple(named[plain(name)] for name in names)
        if all(fits(a, those[i]) for a, i in zip(values, by_name, strict=True)):
            return by_name
    orders = permutations(range(len(others))) if len(others) <= TRIED_AT_MOST else iter([tuple(range(len(others)))])
    fitting = [order for order in orders if all(fits(a, those[i]) for a, i in zip(values, order, strict=True))]
    if len(fitting) < 2:  # noqa: PLR2004 (nothing to choose)
        return fitting[0] if fitting else None
    return min(fitting, key=lambda order: sum(_distance(a, those[i]) for a, i in zip(values, order, strict=True)))


def plain(name: str) -> str:
    """An output's name without what tools add to it: TFMOT's ``quant_``, TensorFlow's ``:0``."""
    return name.removesuffix(":0").removeprefix("quant_")


def fits(a: Array, b: Array) -> bool:
    """Same number of samples, same shape apart from axes of size 1."""
    return a.shape[:1] == b.shape[:1] and _squeezed(a) == _squeezed(b)


def _squeezed(array: Array) -> tuple[int, ...]:
    return tuple(n for n in array.shape[1:] if n != 1)


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a.ravel().astype(np.float64) - b.ravel()).mean())


def _shapes(values: tuple[Value, ...]) -> str:
    return ", ".join(f"{value.name} {value.array.shape}" for value in values)


ELEMENTS_AT_MOST = 2**15  # of one value that are looked at
FLAT = 2.0  # steps: what varies less than this cannot be told from a constant by its integers


@dataclass(frozen=True, slots=True)
class Sample:
    """A place's values, samples along axis 0, and some of their elements in real units."""

    place: FlowValue
    values: Array
    elements: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one sample."""
        return self.values.shape[1:]

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return prod(self.shape)

    def turned(self, order: Order) -> Sample:
        """The same values with a sample's axes in another order."""
        return sample(self.place, turned(self.values, order))


def sample(place: FlowValue, values: Array) -> Sample:
    """Elements at places that depend on the shape alone, so that samples of equal size go together."""
    rows = values.reshape(len(values), -1)
    step = max(1, prod(rows.shape) // ELEMENTS_AT_MOST)
    chosen = rows.ravel()[:: step if step == 1 else step | 1]
    real = dequantize(chosen, place.quant) if place.quant is not None else chosen.astype(np.float32)
    return Sample(place, values, real)


@dataclass(frozen=True, slots=True)
class Agreement:
    """``distance``: RMS of the difference over the spread of the reference, 0 for equal, about 1.4 for others.

    ``flat``: neither side varies by more than a few steps, so the values refute but cannot confirm. ``unclipped``: the
    distance of values as they are, those beyond the candidate's integers too: of two that agree alike the nearer is it.
    ``order``: how the reference's axes were turned for it.
    """

    distance: float
    flat: bool
    unclipped: float = 0.0
    order: Order = ()


def agreement(reference: Sample, candidate: Sample) -> Agreement | None:
    """None for values of different size, or that are no numbers.

    What the candidate's integers cannot hold is clipped on both sides: saturation is no sign of strangers.
    """
    if reference.size != candidate.size or reference.elements.size != candidate.elements.size:
        return None
    grid = candidate.place.grid or reference.place.grid
    a, b = (clipped(each.elements, grid) for each in (reference, candidate))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    error, spread = _rms(a - b), float(min(a.std(), b.std()))
    whole = _rms(reference.elements.astype(np.float64) - candidate.elements)
    step = grid.params.scale[0] if grid is not None else 0.0
    if spread <= FLAT * step or spread == 0:
        yardstick = 4 * FLAT * step
        return Agreement(error / yardstick if step else float(error > 0), True, whole / yardstick if step else whole)
    return Agreement(error / spread, False, whole / spread)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def clipped(values: Array, grid: Grid | None) -> Array:
    """Values moved into the range of the grid, double."""
    values = values.astype(np.float64)
    if grid is None or grid.dtype not in INTEGER_RANGE:
        return values
    (low,), (high,) = real_range(grid.params, grid.dtype)
    return values.clip(low, high)
