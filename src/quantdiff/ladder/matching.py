"""A reference as a float graph of TFLite operators, and which of its operators and constants stand behind the file's.

Where it rounds itself, QUANTIZE and DEQUANTIZE say how. An activation may be performed by a grid of the file: no RELU6,
but integers that end at 0 and 6, as older converters write it.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING, cast

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator, Tensor
from quantdiff.ladder.real_graph import Grid, RealGraph, Setting, in_loops, is_delay
from quantdiff.ops import CLAMPS, INTO_FLOAT, INTO_INTEGERS, traits
from quantdiff.quant import Array, is_float
from quantdiff.sim.node import ACTIVATION_RANGE

if TYPE_CHECKING:
    pass


RECODES = (INTO_INTEGERS, INTO_FLOAT)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph whose QUANTIZE and DEQUANTIZE are seen through.

    ``source``: by the output of such an operator the tensor that it restates. ``grids``: by tensor the grid that the
    reference puts it on.
    """

    real: RealGraph
    source: Mapping[int, int]
    grids: Mapping[int, Grid]

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those that compute something."""
        return tuple(op for op in self.real.operators if op.op not in RECODES)

    def of(self, tensor: int) -> int:
        """The tensor before all restating."""
        while tensor in self.source:
            tensor = self.source[tensor]
        return tensor

    def clamp_behind(self, tensor: int, activation: str) -> int | None:
        """The output of the activation that alone reads a tensor: what a converter may fuse; None for others."""
        names = {tensor, *(i for i in self.source if self.of(i) == tensor)}
        readers = [op for i in names for op in self.real.graph.readers(i) if op.op not in RECODES]
        fits = len(readers) == 1 and readers[0].op in CLAMPS and readers[0].op == activation
        return readers[0].outputs[0] if fits else None


def lowered(real: RealGraph) -> Lowered:
    """See through the operators that only restate; a graph of integers has a grid at every tensor."""
    source = {op.outputs[0]: op.inputs[0] for op in real.operators if op.op in RECODES}
    found = Lowered(real, source, {})
    grids: dict[int, Grid] = {}
    for tensor, grid in real.grids.items():
        if tensor not in real.copies:
            grids.setdefault(found.of(tensor), grid)
    return Lowered(real, source, grids)


ACTIVATION = "fused_activation_function"


NONE = "NONE"


def with_clamps(file: RealGraph, reference: Lowered, pairs: Sequence[tuple[Operator, Operator]]) -> RealGraph:
    """The file's graph with the activations of the reference that its own grids perform: no integer is another one."""
    taken = {theirs.index for _, theirs in pairs}
    found = {ours.index: _performed(file, reference, ours, theirs, taken) for ours, theirs in pairs}
    if not any(found.values()):
        return file
    operators = tuple(
        replace(op, options={**op.options, ACTIVATION: found[op.index]}) if found.get(op.index) else op
        for op in file.graph.operators
    )
    graph = replace(file.graph, operators=operators)
    return replace(file, graph=graph, loops=in_loops(graph, file.folded))


def _performed(
    file: RealGraph, reference: Lowered, ours: Operator, theirs: Operator, taken: Container[int]
) -> str | None:
    """The activation that the reference has, fused or alone behind, and the file's operator only in its grid."""
    grid = file.grids.get(ours.outputs[0]) if len(ours.outputs) == 1 else None
    if grid is None or not traits(ours.op).fuses or ours.options.get(ACTIVATION, NONE) != NONE:
        return None
    own = str(theirs.options.get(ACTIVATION, NONE))
    if own == NONE:
        own = next((name for name in CLAMPS if _stands_behind(reference, theirs, name, taken)), NONE)
    return own if own in CLAMPS and performs(grid, own) else None


def _stands_behind(reference: Lowered, theirs: Operator, activation: str, taken: Container[int]) -> bool:
    behind = reference.clamp_behind(theirs.outputs[0], activation)
    maker = None if behind is None else reference.real.graph.producer(behind)
    return maker is not None and maker.index not in taken


def performs(grid: Grid, activation: str) -> bool:
    """Whether an activation in front of a grid changes none of its integers: its ends are at the grid's, or beyond."""
    low, high = (grid.steps(np.asarray(end)) + grid.zero_point for end in ACTIVATION_RANGE[activation])
    return bool(low <= grid.low and high >= grid.high)


FITS, ROUNDED, NEAR = 1.5, 1.0, 2.0
"""Steps: at the same place, anywhere, and what still speaks for an operator."""
FLOAT32 = 2.0**-22
"""Of a value: integers near 2**30 are finer than float32 can say."""
MOST_AXES, MOST_PAIRS = 5, 2**23
GAP, SAME, FOUND, LOST = 0.0, 1.0, 4.0, -1.0
MOST = SAME + 2
"""Of an operator without constants: its size and its name are the same, too."""


@dataclass(frozen=True, slots=True)
class Match:
    """A constant of the file and the reference's, in real units and in the file's axes.

    ``how``: ``position``, ``value`` or ``none``. ``steps``: the largest distance in steps of the file's own grid, of
    floats relative to the largest. ``order``: the axes of the reference's constant in the file's order, () as it is.
    """

    tensor: int
    other: int | None
    how: str
    steps: float
    order: tuple[int, ...] = ()
    value: Array | None = field(default=None, compare=False, repr=False)


Pairs = tuple[tuple[Operator, Operator], ...]


def computing(real: RealGraph) -> tuple[Operator, ...]:
    """The operators that neither restate nor stand on constants alone."""
    return tuple(op for op in real.operators if op.op not in RECODES)


def pair_operators(file: RealGraph, reference: Lowered) -> Pairs:
    """The operators of both in their order (Needleman and Wunsch): the same op scores, constants that fit more.

    Raises:
        UnsupportedOp: there are so many that this would take minutes.
    """
    ours, theirs = computing(file), reference.operators
    if len(ours) * len(theirs) > MOST_PAIRS:
        raise UnsupportedOp(f"{len(ours):,} operators beside {len(theirs):,} are more than can be paired in order")
    alike = _alike_at_the_end(file, reference, ours, theirs)
    last = tuple(zip(ours[len(ours) - alike :], theirs[len(theirs) - alike :], strict=True))
    ours, theirs = ours[: len(ours) - alike], theirs[: len(theirs) - alike]
    likeness = np.array([[_likeness(file, reference, a, b) for b in theirs] for a in ours]).reshape(
        len(ours), len(theirs)
    )
    best = np.zeros((len(ours) + 1, len(theirs) + 1))
    for i, j in np.ndindex(len(ours), len(theirs)):
        best[i + 1, j + 1] = max(best[i, j] + likeness[i, j], best[i, j + 1] + GAP, best[i + 1, j] + GAP)
    return tuple(_walked_back(ours, theirs, likeness, best)) + last


def _alike_at_the_end(file: RealGraph, reference: Lowered, ours: Sequence[Operator], theirs: Sequence[Operator]) -> int:
    """How many of the last operators are each other's best partner, whatever stands before them.

    No operator scores more than with a partner of its name that has all its constants: walking back takes that one.
    """
    count = 0
    for a, b in zip(reversed(ours), reversed(theirs), strict=False):
        own = sum(is_real(file, i) for i in a.inputs)
        constants = max(own, sum(is_real(reference.real, reference.of(i)) for i in b.inputs))
        if _likeness(file, reference, a, b) < MOST + FOUND * constants:
            break
        count += 1
    return count


def _walked_back(
    ours: Sequence[Operator], theirs: Sequence[Operator], likeness: Array, best: Array
) -> list[tuple[Operator, Operator]]:
    pairs, i, j = list[tuple[Operator, Operator]](), len(ours), len(theirs)
    while i and j:
        if likeness[i - 1, j - 1] > 0 and best[i, j] == best[i - 1, j - 1] + likeness[i - 1, j - 1]:
            pairs.append((ours[i - 1], theirs[j - 1]))
            i, j = i - 1, j - 1
        elif best[i, j] == best[i - 1, j] + GAP:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _likeness(file: RealGraph, reference: Lowered, ours: Operator, theirs: Operator) -> float:
    if ours.op != theirs.op:
        return 0.0
    a, b = file.graph.tensors[ours.outputs[0]], reference.real.graph.tensors[theirs.outputs[0]]
    score = SAME + (math.prod(a.shape) == math.prod(b.shape)) + (a.name == b.name)
    for mine, own in zip(ours.inputs, map(reference.of, theirs.inputs), strict=False):
        if is_real(file, mine) and is_real(reference.real, own):
            value, other = file.constants[mine], reference.real.constants[own]
            steps = misfit(stored(file, mine), value, other) if value.size == other.size else math.inf
            score += FOUND if steps <= FITS else SAME if steps < NEAR else LOST
    return max(score, 0.1)


def match_constants(file: RealGraph, reference: Lowered, pairs: Pairs) -> dict[int, Match]:
    """Every real constant of the file: at the same place of its operator's partner, else by value in any order.

    One whose operator is known by other constants keeps its place though the values differ: that is what is sought.
    """
    partner = {ours.index: theirs for ours, theirs in pairs}
    known = {**reference.real.constants, **unfed(reference.real)}
    pool = {i: v for i, v in known.items() if v.dtype.kind == "f"}
    found: dict[int, Match] = {}
    for operator in file.operators:
        placed = _by_position((file, reference, pool), operator, partner.get(operator.index))
        sure = any(match.steps <= FITS for match in placed.values())
        for tensor in operator.inputs:
            if not is_real(file, tensor) or tensor in found:
                continue
            place = placed.get(tensor)
            if place is not None and (place.steps <= FITS or sure):
                found[tensor] = place
                continue
            elsewhere = by_value((tensor, stored(file, tensor)), file.constants[tensor], pool)
            found[tensor] = elsewhere or place or Match(tensor, None, "none", math.inf)
    return found


def unfed(real: RealGraph) -> dict[int, Array]:
    """Floats that hang on no data, as a first state and what a layer makes of it: a converter folds them, or not."""
    found = set[int]()
    for op in real.operators:
        counted = op.inputs and all(i < 0 or i in real.constants or i in found for i in op.inputs)
        if not is_delay(op) and (op.op == "SHAPE" or counted):
            found.update(op.outputs)
    floats = [i for i in found if i >= 0 and is_float(real.graph.tensors[i].dtype)]
    if not floats:
        return {}
    nothing = [np.zeros((1, *real.graph.tensors[i].shape)) for i in real.graph.inputs]
    on = frozenset(real.varying)
    try:
        values = real.run(nothing, Setting({}, {}, on, on), None, floats)
    except UnsupportedOp:
        return {}
    return {i: values[i][0] for i in floats}


Sides = tuple[RealGraph, Lowered, Mapping[int, Array]]
"""The file, the reference, and what the reference knows without data."""


def _by_position(sides: Sides, ours: Operator, theirs: Operator | None) -> dict[int, Match]:
    """By tensor what stands at the same place, wherever it has as many values."""
    file, reference, known = sides
    found = {}
    for mine, own in zip(ours.inputs, map(reference.of, theirs.inputs if theirs else ()), strict=False):
        if is_real(file, mine) and own in known:
            value, other = file.constants[mine], known[own]
            if value.size == other.size:
                steps = misfit(stored(file, mine), value, other)
                found[mine] = Match(mine, own, "position", steps, (), other.reshape(value.shape))
    return found


def by_value(constant: tuple[int, Tensor], value: Array, pool: Mapping[int, Array]) -> Match | None:
    """The nearest of the reference's constants under any order of its axes; None beyond a step."""
    (index, tensor), best = constant, cast("Match | None", None)
    for other, candidate in pool.items():
        if candidate.size != value.size:
            continue
        for order, turned in orders(candidate, value.shape):
            steps = misfit(tensor, value, turned)
            if steps <= ROUNDED and (best is None or steps < best.steps):
                best = Match(index, other, "value", steps, order, turned)
    return best


def misfit(tensor: Tensor, value: Array, other: Array) -> float:
    """The largest distance in steps of the tensor's grid; of floats in 1e-6 of the largest. inf for other sizes."""
    if value.size != other.size or not value.size:
        return math.inf
    distance = np.abs(value - other.reshape(value.shape))
    if tensor.quant is None or not tensor.quant.scale:
        return float(distance.max() / (np.abs(value).max() * unit_of_floats(tensor) + 1e-30))
    scale = tensor.quant.along(value.ndim)[0].astype(np.float64)
    return float((distance / np.maximum(scale, np.abs(value) * FLOAT32)).max())


def unit_of_floats(tensor: Tensor) -> float:
    """What counts as a step where nothing is quantized, as a share of the largest value."""
    return 2.0**-10 if tensor.dtype in ("float16", "bfloat16") else 1e-6


def orders(other: Array, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """``other`` under every order of its axes that gives ``shape``, axes of size 1 aside; as it is first."""
    long = tuple(n for n in shape if n != 1)
    squeezed = other.reshape([n for n in other.shape if n != 1])
    if squeezed.ndim > MOST_AXES:
        return
    for order in permutations(range(squeezed.ndim)):
        if tuple(squeezed.shape[k] for k in order) == long:
            plain = order == tuple(range(squeezed.ndim))
            yield () if plain else order, squeezed.transpose(order).reshape(shape)


def stored(real: RealGraph, tensor: int) -> Tensor:
    """The tensor that holds a constant: the one before DEQUANTIZE and the like."""
    return real.graph.stored(tensor) or real.graph.tensors[tensor]


def is_real(real: RealGraph, tensor: int) -> bool:
    """Whether a tensor is a constant in real units."""
    return tensor in real.constants and real.constants[tensor].dtype.kind == "f"
