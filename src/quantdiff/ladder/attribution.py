"""From the moves of a frontier to shares: what is added up while samples pass by, and the result as values.

What each mechanism does in any other order is held beside it: Shapley, "A value for n-person games", 1953, with the
power of the error as the value of a set of mechanisms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import factorial

import numpy as np

from quantdiff.ladder.explanation import (
    CLIPPING,
    FRAMEWORK,
    GRAPH,
    INPUT,
    KERNEL,
    OUTPUT_GRID,
    RANGES,
    SMALLER,
    Frontier,
    Item,
    Signed,
)
from quantdiff.ladder.frontier import Frontier as State
from quantdiff.ladder.frontier import Given, Move, beside, defined, frontier, walk
from quantdiff.ladder.rungs import activations_of, in_slices, samples_at_once
from quantdiff.ladder.switches import SWITCHES, Switches
from quantdiff.quant import Array

SAMPLES = 64
"""On which the frontier is moved at least: the shares of 16 have the same first three in 8 of 11 networks."""
ENOUGH, WORK = 256, 2**22
"""Outputs that differ: where they are rare more samples are looked at, as long as all stages times all values of them
are no more than so many."""
HALF, BLOCK = SAMPLES // 2, 256
"""Samples that belong to the same half of the data: of the first ones, and of those behind."""
BEFORE, WITHIN, BEHIND = Move(None, -1, FRAMEWORK), Move(None, -1, GRAPH), Move(None, -1, OUTPUT_GRID)
LUMPED = Move(None, -1, SMALLER)


@dataclass(slots=True)
class Sum:
    """Of one move: its products with the whole error in each half of the samples, its power, its largest change."""

    with_whole: list[float] = field(default_factory=lambda: [0.0, 0.0])
    power: float = 0.0
    largest: float = 0.0

    def add(self, halves: Sequence[slice], change: Array, whole: Array) -> None:
        """Some samples' changes, in steps; which of them belong to which half. Shapes: (samples, elements)."""
        for half, rows in enumerate(halves):
            self.with_whole[half] += float((change[rows] * whole[rows]).sum())
        self.power += float(np.square(change).sum())
        self.largest = max(self.largest, float(np.abs(change).max(initial=0)))


@dataclass(slots=True)
class Attribution:
    """Running sums; nothing grows with the data. ``differing`` are the outputs of the ``samples`` that differ."""

    switches: Switches
    units: tuple[float, ...]
    samples: int = 0
    differing: int = 0
    elements: int = 0
    whole: list[float] = field(default_factory=lambda: [0.0, 0.0])
    output_grid: float = 0.0
    closes: float = 0.0
    sums: dict[Move, Sum] = field(default_factory=dict)
    by_mechanism: dict[str, Sum] = field(default_factory=dict)
    met: dict[int, tuple[float, float]] = field(default_factory=dict)
    spans: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    orders: list[Orders] | None = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether no more samples are to be looked at."""
        return not self.wanted(np.ones(1, int))

    def wanted(self, differing: Array) -> int:
        """How many of the next samples are to be looked at; ``differing`` says of each how many outputs differ."""
        graph = self.switches.file.graph
        most = max(SAMPLES, WORK // (activations_of(graph) * max(1, len(graph.operators))))
        left = np.cumsum(differing) + self.differing < ENOUGH
        few = int(np.count_nonzero(left)) + 1 if self.differing < ENOUGH else 0
        return max(0, min(max(SAMPLES - self.samples, few), most - self.samples, len(differing)))

    def add(self, given: Given, differing: int) -> None:
        """Some samples, in as many parts as memory asks for; ``differing`` of their outputs do."""
        size, before = samples_at_once(self.switches.file.graph), self.samples
        if self.switches.file.streams:  # a sample cannot be had without those before it
            count = len(given.inputs[0])
            self._add(given, (slice(0, count // 2), slice(count // 2, count)))
            self.samples += count
        for start, end, half in _blocks(self.samples, before + len(given.inputs[0])):
            for at in range(start, end, size):
                part = slice(at - before, min(at + size, end) - before)
                self._add(given.part(part), (slice(0), slice(None))[:: 1 if half else -1])
                self.samples = min(at + size, end)
        self.differing += differing

    def _add(self, given: Given, halves: Sequence[slice]) -> None:
        state, whole, moves = changes(self.switches, given, self.units)
        for half, rows in enumerate(halves):
            self.whole[half] += float(np.square(whole[rows]).sum())
        self.elements += whole.size
        total, together, bounded = np.zeros_like(whole), dict[str, Array](), list[Move]()
        for move, change in moves:
            total += change
            if move is BEHIND:
                self.output_grid += float(np.square(change).sum())
                continue
            self.sums.setdefault(move, Sum()).add(halves, change, whole)
            together[move.mechanism] = together.get(move.mechanism, 0.0) + change
            bounded += [move] if move.mechanism in (CLIPPING, RANGES, INPUT) else []
        self._meet(given, bounded)
        for mechanism, change in together.items():
            self.by_mechanism.setdefault(mechanism, Sum()).add(halves, change, whole)
        self.closes = max(self.closes, float(np.abs(total - given.difference(self.units)).max(initial=0)))
        self._in_all_orders(state, together, whole)

    def _in_all_orders(self, state: State, together: Mapping[str, Array], whole: Array) -> None:
        """Of the mechanisms that act; what the error has before all exchanges has no other order."""
        if self.orders is None or SMALLER in together:
            self.orders = None
            return
        before = np.zeros_like(whole) + sum(together.get(m, 0.0) for m in (FRAMEWORK, GRAPH))
        found = in_all_orders(state, together, before, state.at(len(state.stages)))
        self.orders = None if found is None else [*self.orders, found]

    def _meet(self, given: Given, moves: Sequence[Move]) -> None:
        """What the data reach at tensors before their grids bound them; those that are no layer's are computed."""
        others = [move.tensor for move in moves if move.tensor not in given.real]
        real = {**given.real}
        if others:
            real |= in_slices(self.switches.file, given.inputs, self.switches.rewritten, others)
        for move in moves:
            if (values := real[move.tensor]).size:
                low, high = self.met.get(move.tensor, (math.inf, -math.inf))
                self.met[move.tensor] = min(low, float(values.min())), max(high, float(values.max()))
                if move.mechanism == INPUT:
                    self._span(move.tensor, values.reshape(-1, values.shape[-1]))

    def _span(self, tensor: int, values: Array) -> None:
        """The smallest and the largest value of each feature. Shape: (values, features)."""
        low, high = values.min(axis=0), values.max(axis=0)
        known = self.spans.get(tensor, (low, high))
        self.spans[tensor] = np.minimum(low, known[0]), np.maximum(high, known[1])

    def lost(self, tensor: int) -> tuple[int, ...]:
        """Features of an input that vary, but by less than one of its steps."""
        if tensor not in self.spans:
            return ()
        span = self.spans[tensor][1] - self.spans[tensor][0]
        return tuple(np.flatnonzero((span > 0) & (span < self.switches.file.grids[tensor].scale)).tolist())

    def value(self) -> Frontier:
        """Shares, powers and items, the largest share first."""
        power, orders = sum(self.whole), joined(self.orders or ())
        items = sorted((self._item(move, each, power) for move, each in self.sums.items()), key=lambda i: -i.share)
        by = {
            m: _share(each, power) for m, each in sorted(self.by_mechanism.items(), key=lambda e: -sum(e[1].with_whole))
        }
        return Frontier(
            self.samples,
            math.sqrt(power / self.elements) if self.elements else 0.0,
            by,
            {m: each.power / power if power else 0.0 for m, each in self.by_mechanism.items() if m in by},
            tuple(items),
            self.output_grid / power if power else 0.0,
            self.closes,
            {m: orders.mean_gain(m) / power for m in orders.acting if power},
            {m: orders.come_right(m) for m in orders.acting},
            {m: orders.alone[m] for m in orders.acting},
            {m: orders.without(m) for m in orders.acting},
        )

    def _item(self, move: Move, each: Sum, power: float) -> Item:
        halves = [a / b if b else 0.0 for a, b in zip(each.with_whole, self.whole, strict=True)]
        held = self.switches.file.grids[move.tensor].ends if move.tensor in self.met else None
        return Item(
            *named(self.switches, move),
            share=_share(each, power),
            power=each.power / power if power else 0.0,
            spread=abs(halves[0] - halves[1]) if all(self.whole) else 0.0,
            rms_steps=math.sqrt(each.power / self.elements),
            max_steps=each.largest,
            held=held,
            met=self.met.get(move.tensor),
            lost=self.lost(move.tensor) if move.mechanism == INPUT else (),
        )


def changes(
    switches: Switches, given: Given, units: tuple[float, ...]
) -> tuple[State, Array, Iterator[tuple[Move, Array]]]:
    """The frontier's start, the whole error without the output's own grid, and every move with what it changes."""
    count, samples = len(given.inputs[0]), frontier(switches, given.inputs, given.recorded, units)
    reference, low, bare, runtime = (
        beside(each, units, count) for each in (given.reference, given.lowered, given.bare, given.runtime)
    )
    first, last = samples.at(0), samples.at(len(samples.stages))

    def moves() -> Iterator[tuple[Move, Array]]:
        yield BEFORE, low - reference
        yield WITHIN, first - bare
        for move, change in walk(samples, first, last):
            yield (move if move.mechanism else LUMPED), change
        yield BEHIND, runtime - last + bare - low

    return samples, last - bare + low - reference, (each for each in moves() if each[1].any())


def signed(switches: Switches, given: Given, units: tuple[float, ...], element: int) -> tuple[Signed, ...]:
    """The list that adds up to the difference of one element of the last sample, the largest first."""
    *_, moves = changes(switches, given, units)
    found = []
    for move, change in moves:
        operator, op, layer, _, mechanism = named(switches, move)
        if steps := float(change[-1, element]):
            found.append(Signed(operator, op, layer, mechanism, steps))
    return tuple(sorted(found, key=lambda each: -abs(each.steps)))


def named(switches: Switches, move: Move) -> tuple[int | None, str, str, str, str]:
    """Operator, op, the reference's layer, the file's tensor and mechanism of a move."""
    if move.tensor < 0:
        return None, "", "", "", move.mechanism
    graph, layer = switches.file.graph, switches.layer_of(move.tensor)
    tensor = graph.tensors[move.tensor].label
    if move.operator is None:
        return None, "", layer, tensor, move.mechanism
    operator = switches.file.origin.get(move.operator, graph.operators[move.operator])
    return operator.index, operator.op, layer, tensor, move.mechanism


def lowered_outputs(
    switches: Switches, order: Sequence[int], inputs: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """The lowered reference's outputs in the file's order: as it rounds them itself, and before it does."""
    real = switches.reference.real
    places = [real.graph.outputs[k] for k in order]
    pairs = zip(places, switches.ends, strict=True)
    ends = frozenset(switches.reference.of(i) for i, end in pairs if end is not None)
    whole = in_slices(real, inputs, switches.lowered_setting(), places)
    bare = whole
    if any(switches.reference.of(i) in ends for i in real.varying):
        bare = in_slices(real, inputs, switches.lowered_setting(ends), places)
    return [whole[i] for i in places], [bare[i] for i in places]


def _blocks(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Samples by number, in pieces that belong to one half of the data: from, to, which half."""
    while first < end:
        size = HALF if first < SAMPLES else BLOCK
        last = min(end, (first // size + 1) * size)
        yield first, last, first // size % 2
        first = last


def _share(each: Sum, power: float) -> float:
    return sum(each.with_whole) / power if power else 0.0


MOST, HEAVY = 7, 2**25
"""Mechanisms, and values of all tensors in all the runs together: the graph runs once for each set of mechanisms."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What every set of the mechanisms that act makes of some samples.

    By set: ``power`` of the error, in steps², and how many of the outputs on a grid are ``right``, the runtime's.
    ``alone``: by mechanism how many of these differ from the reference's when it alone acts.
    """

    acting: tuple[str, ...]
    power: Mapping[frozenset[str], float]
    right: Mapping[frozenset[str], int]
    alone: Mapping[str, int]

    def mean_gain(self, mechanism: str) -> float:
        """The power, in steps², that a mechanism adds in the mean over all orders in which they come."""
        count, total = len(self.acting), 0.0
        for some in _sets([m for m in self.acting if m != mechanism]):
            weight = factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count)
            total += weight * (self.power[some | {mechanism}] - self.power[some])
        return total

    def without(self, mechanism: str) -> int:
        """How many outputs differ from the runtime's when all but this mechanism act."""
        whole = frozenset(self.acting)
        return self.right[whole] - self.right[whole - {mechanism}]

    def come_right(self, mechanism: str) -> tuple[int, int]:
        """The fewest and the most outputs that come right with a mechanism; those that it makes wrong are taken off."""
        others = _sets([m for m in self.acting if m != mechanism])
        gains = [self.right[some | {mechanism}] - self.right[some] for some in others]
        return min(gains), max(gains)


def joined(parts: Sequence[Orders]) -> Orders:
    """Several samples' together; what does not act on some of them changes nothing there."""
    acting = tuple(m for m in (*SWITCHES, KERNEL) if any(m in part.acting for part in parts))
    own = [(part, frozenset(part.acting)) for part in parts]
    return Orders(
        acting,
        {some: sum(part.power[some & known] for part, known in own) for some in _sets(acting)},
        {some: sum(part.right[some & known] for part, known in own) for some in _sets(acting)},
        {m: sum(part.alone.get(m, 0) for part in parts) for m in acting},
    )


def in_all_orders(frontier: State, acting: Iterable[str], before: Array, last: Array) -> Orders | None:
    """Every set of the mechanisms that act on these samples.

    ``before`` is what the error has already before the first mechanism, ``last`` the outputs with all exchanged, in
    steps. Shapes: (samples, elements of all outputs). None where there are too many mechanisms or values, or 1/0
    stands somewhere.
    """
    players = tuple(m for m in (*SWITCHES, KERNEL) if m in acting)
    values = sum(array[:1].size for array in frontier.recorded.values()) * len(frontier.inputs[0])
    if len(players) > MOST or values * 2 ** len(players) > HEAVY:
        return None
    others, added = frozenset(SWITCHES) - set(players), _added(frontier)
    outputs: dict[frozenset[str], Array] = {}
    for some in _sets(players):
        setting = frontier.switches.setting((some | others) - {KERNEL})
        outputs[some] = frontier.outputs({}, replace(setting, added=_together(added, some | others)))
        if not defined(outputs[some]):
            return None
    codes, bare = _stored(frontier, last), _stored(frontier, outputs[frozenset()])
    return Orders(
        players,
        {some: float(np.square(made - outputs[frozenset()] + before).sum()) for some, made in outputs.items()},
        {some: int(np.count_nonzero(_stored(frontier, made) == codes)) for some, made in outputs.items()},
        {m: int(np.count_nonzero(_stored(frontier, outputs[frozenset({m})]) != bare)) for m in players},
    )


def _stored(frontier: State, outputs: Array) -> Array:
    """The integers of the outputs that lie on a grid. Shapes: (samples, elements of all) -> (samples, elements)."""
    file, at, found = frontier.switches.file, 0, [np.zeros((len(outputs), 0), np.int64)]
    for tensor, end, unit in zip(file.graph.outputs, frontier.switches.ends, frontier.units, strict=True):
        size = math.prod(frontier.switches.shapes.get(tensor, file.graph.tensors[tensor].shape))
        if end is not None:
            found.append(file.grids[end].integers(outputs[:, at : at + size] * unit))
        at += size
    return np.concatenate(found, axis=1)


def _sets(names: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


def _added(frontier: State) -> dict[str, dict[int, Array]]:
    """By tensor what the runtime's arithmetic adds to the exact one, both fed with the runtime's own values.

    That is its kernels' part, and how it rounds ties, which goes with what rounds.
    """
    found: dict[str, dict[int, Array]] = {KERNEL: {}}
    for stage, each in enumerate(frontier.stages):
        if isinstance(each, int):  # an input is put on its grid, which is a mechanism of its own and no kernel's
            continue
        *_, (mechanism, exact), (_, recorded) = frontier.within(stage)
        *_, (_, upwards), _ = frontier.within(stage, ties=False)
        for i, plain, near, theirs in zip(each.outputs, upwards, exact, recorded, strict=True):
            if theirs.dtype.kind == "b":  # truth values are not added to
                continue
            found[KERNEL][i] = theirs - near
            if near is not plain:
                found.setdefault(mechanism, {})[i] = near - plain
    return found


def _together(added: Mapping[str, Mapping[int, Array]], mechanisms: Iterable[str]) -> dict[int, Array]:
    found: dict[int, Array] = {}
    for tensor, values in (item for m in mechanisms for item in added.get(m, {}).items()):
        found[tensor] = found[tensor] + values if tensor in found else values
    return found
