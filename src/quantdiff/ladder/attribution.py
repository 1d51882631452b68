"""From the moves of a frontier to shares: what is added up while samples pass by, and the result as values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.ladder.explanation import Frontier, Item, Signed
from quantdiff.ladder.frontier import Frontier as State
from quantdiff.ladder.frontier import Move, beside, frontier, walk
from quantdiff.ladder.mechanisms import CLIPPING, FRAMEWORK, GRAPH, INPUT, OUTPUT_GRID, RANGES, SMALLER
from quantdiff.ladder.orders import Orders, in_all_orders, joined
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.rungs import activations_of, in_slices, samples_at_once
from quantdiff.ladder.switches import Switches
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


@dataclass(frozen=True, slots=True)
class Given:
    """What the frontier needs of some samples. Shapes: samples along axis 0.

    ``recorded`` are the runtime's tensors in real units; ``reference`` the reference's own outputs in the file's
    order, ``lowered`` those of its graph and ``bare`` the same without its output grids, all in real units. ``real``
    are tensors of the file in the reference's arithmetic.
    """

    inputs: Sequence[Array]
    recorded: Values
    runtime: Sequence[Array]
    reference: Sequence[Array]
    lowered: Sequence[Array]
    bare: Sequence[Array]
    real: Values

    def part(self, rows: slice) -> Given:
        """Some of the samples."""
        several = (self.inputs, self.runtime, self.reference, self.lowered, self.bare)
        inputs, runtime, reference, low, bare = ([x[rows] for x in each] for each in several)
        recorded, real = ({i: v[rows] for i, v in each.items()} for each in (self.recorded, self.real))
        return Given(inputs, recorded, runtime, reference, low, bare, real)

    def difference(self, units: tuple[float, ...]) -> Array:
        """Runtime minus reference, in steps."""
        count = len(self.inputs[0])
        return beside(self.runtime, units, count) - beside(self.reference, units, count)


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
