"""A graph of TFLite operators in real arithmetic, double, with a switch for everything that the file rounds.

Operators that wait for each other through a delay go sample by sample, all others at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Graph, Operator, keeps_resources
from quantdiff.ladder.real_operator import Sums, compute
from quantdiff.ladder.streams import DELAY
from quantdiff.quant import INTEGER_RANGE, NEARLY_HALF, Array, is_float
from quantdiff.quant import Grid as StoredGrid
from quantdiff.sim.node import Node, NoKernel, loops, node_of

Values = Mapping[int, Array]
"""By tensor index, samples along axis 0; an axis of 1 stands for all of them."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of integers in real units. ``single``: TFLite's own float32 division, half away from zero.

    All others round as fake-quant does: in double, halves up.
    """

    scale: float
    zero_point: int
    low: int
    high: int
    single: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest real value."""
        return (self.low - self.zero_point) * self.scale, (self.high - self.zero_point) * self.scale

    def clipped(self, x: Array, *, over: bool = False) -> Array:
        """``x`` within the ends; ``over`` itself, where nobody else reads it."""
        return np.asarray(np.clip(x, *self.ends, out=x if over else None))

    def bounded(self, x: Array) -> Array:
        """``x`` on the grid and within its ends."""
        compiled = None if self.single else loops(x.size)
        if compiled is None or x.dtype != np.float64 or not x.flags.c_contiguous:
            return self.clipped(self.rounded(x), over=True)
        found = np.empty_like(x)
        compiled.bound(x.reshape(-1), (float(self.scale), *map(float, self.ends)), found.reshape(-1))
        return found

    def rounded(self, x: Array) -> Array:
        """``x`` on the grid, ends aside."""
        steps = self.steps(x)
        steps *= self.scale
        return steps

    def steps(self, x: Array) -> Array:
        """Whole steps from 0.0, ends aside; an array of its own."""
        if self.single:
            exact = np.asarray(x, np.float32) / np.float32(self.scale)
            return np.asarray(np.trunc(exact + np.copysign(NEARLY_HALF, exact)), np.float64)
        steps = np.asarray(x / self.scale)
        steps += 0.5
        return np.floor(steps, out=steps)

    def integers(self, x: Array, dtype: np.dtype[Any] | type = np.int64) -> Array:
        """What a tensor on this grid stores of ``x``."""
        compiled = None if self.single else loops(x.size)
        if compiled is not None and x.dtype == np.float64:
            found = np.empty(x.shape, dtype)
            grid = float(self.scale), float(self.zero_point), float(self.low), float(self.high)
            compiled.store(x.reshape(-1), grid, found.reshape(-1))
            return found
        steps = self.steps(x)
        steps += self.zero_point
        return np.clip(steps, self.low, self.high, out=steps).astype(dtype)

    def same(self, other: Grid) -> bool:
        """Whether both have the same ends, to a thousandth of a step."""
        return max(abs(a - b) for a, b in zip(self.ends, other.ends, strict=True)) < self.scale * 2.0**-10


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands on which side: one frozen value of all switches.

    ``constants`` take the place of the stored ones. ``own`` are the reference's grids, put on first. Tensors that are
    ``clipped`` end where the file's grid ends; those that are ``rounded`` lie on its steps. ``grids`` take the place of
    the file's. What is ``added`` to a tensor comes last.
    """

    constants: Values = field(default_factory=dict)
    own: Mapping[int, Grid] = field(default_factory=dict)
    clipped: AbstractSet[int] = frozenset()
    rounded: AbstractSet[int] = frozenset()
    grids: Mapping[int, Grid] = field(default_factory=dict)
    added: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RealGraph:
    """A graph ready to run with any ``Setting``.

    ``constants`` are in real units, those that operators only move or recode too: these are ``folded`` and never run.
    ``grids`` are those of activations; tensors that only move what lies on the same grid already are ``copies``.
    ``loops`` are the operators that run, those together that go sample by sample. ``origin``: by operator the one of
    the file in whose body it stands.
    """

    graph: Graph
    constants: Values
    folded: AbstractSet[int]
    grids: Mapping[int, Grid]
    copies: AbstractSet[int]
    loops: Loops
    origin: Mapping[int, Operator] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def streams(self) -> bool:
        """Whether a sample depends on those before it."""
        return any(map(is_delay, self.operators))

    @property
    def is_plain(self) -> bool:
        """Whether it keeps no state, and has the operators of the file: none was written out."""
        return not self.origin and not keeps_resources(self.graph)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those that run, in their order."""
        return tuple(op for op in self.graph.operators if op.index not in self.folded)

    @property
    def varying(self) -> AbstractSet[int]:
        """Tensors at which something is really rounded."""
        return self.grids.keys() - self.copies

    def put(self, tensor: int, y: Array, setting: Setting) -> Array:
        """A value as it leaves its operator under a setting."""
        if (own := setting.own.get(tensor)) is not None:
            y = own.bounded(y)
        grid = setting.grids.get(tensor, self.grids.get(tensor))
        if grid is not None and tensor in setting.rounded:
            y = grid.bounded(y) if tensor in setting.clipped else grid.rounded(y)
        elif grid is not None and tensor in setting.clipped:
            y = grid.clipped(y)
        if tensor in setting.added:
            y = y + setting.added[tensor]  # on the very step again: ties behind it hang on the last bit
            y = grid.rounded(y) if grid is not None and tensor in setting.rounded else y
        return y

    def run(
        self, inputs: Sequence[Array], setting: Setting, start: Values | None = None, want: Iterable[int] = ()
    ) -> dict[int, Array]:
        """What is in ``start``, which is taken as it is, and what is wanted; where nothing is, every activation.

        Raises:
            UnsupportedOp: an operator has no real function.
        """
        return dict(self.walk(inputs, setting, start, want))

    def walk(
        self, inputs: Sequence[Array], setting: Setting, start: Values | None = None, want: Iterable[int] = ()
    ) -> Iterator[tuple[int, Array]]:
        """The same one after the other, as it is made: where something is wanted, nothing else is kept unread."""
        values = dict(start or {})
        for i, x in zip(self.graph.inputs, inputs, strict=False):
            if i not in values:
                values[i] = self.put(i, x, setting)
        yield from tuple(values.items())
        wanted, count = frozenset(want), max(map(len, inputs), default=1)
        needed = self.needed(wanted, values) if wanted else None
        parts = [[op for op in loop if needed is None or op.index in needed] for loop in self.loops]
        last = {i: k for k, loop in enumerate(parts) for op in loop for i in op.inputs} if wanted else {}
        for k, loop in enumerate(parts):
            left = [op for op in loop if any(i not in values for i in op.outputs)]
            made = self._made(left, values, setting, count)
            values |= made
            yield from ((i, y) for i, y in made.items() if i in wanted or not wanted)
            del made
            for i in {i for op in loop for i in (*op.inputs, *op.outputs) if last.get(i, -1 if wanted else k + 1) <= k}:
                values.pop(i, None)

    def _made(self, loop: Sequence[Operator], values: Values, setting: Setting, count: int) -> dict[int, Array]:
        """What some operators give that stand together."""
        if len(loop) > 1 and any(map(is_delay, loop)):
            return self._one_by_one(loop, values, setting, count)
        found, held = dict[int, Array](), dict(values)
        for operator in loop:
            if is_delay(operator):
                outputs = [self._delayed(operator, held, setting, count)]
            else:
                outputs = self.operate(operator, held, setting)
            found.update((i, y) for i, y in zip(operator.outputs, outputs, strict=True) if i not in held)
            held |= found
        return found

    def _delayed(self, operator: Operator, values: Values, setting: Setting, count: int) -> Array:
        """What the samples before left."""
        assigned, start = operator.inputs[0], self._first(operator, setting)
        known = values[assigned] if assigned in values else self.constants.get(assigned, start)[None]
        return self.put(operator.outputs[0], shifted(known, start, count), setting)

    def _first(self, delay: Operator, setting: Setting) -> Array:
        return setting.constants.get(delay.inputs[1], self.constants[delay.inputs[1]])

    def _one_by_one(self, loop: Sequence[Operator], values: Values, setting: Setting, count: int) -> dict[int, Array]:
        """Operators that wait for what they gave the sample before."""
        made: dict[int, list[Array]] = {i: [] for op in loop for i in op.outputs if i not in values}
        read = {i for op in loop for i in op.inputs if i in values}
        now: dict[int, Array] = {}
        for k in range(count):
            before, now = now, {i: values[i][k % len(values[i])][None] for i in read}
            added = {i: y[k % len(y)][None] for i, y in setting.added.items() if i in made}
            one = replace(setting, added=added)
            for operator in loop:  # as they stand in the file, where a variable is read before it is assigned
                if is_delay(operator):
                    left = before.get(operator.inputs[0], self._first(operator, setting)[None])
                    outputs = [self.put(operator.outputs[0], left, one)]
                else:
                    outputs = self.operate(operator, now, one)
                now.update((i, y) for i, y in zip(operator.outputs, outputs, strict=True) if i in made)
            for i, rows in made.items():
                rows.append(now[i])
        return {i: np.concatenate(rows) for i, rows in made.items()}

    def operate(self, operator: Operator, values: Values, setting: Setting) -> list[Array]:
        """The outputs of one operator on given values, as they leave it under a setting."""
        return self.left(operator, self.computed(operator, values, setting.constants), setting)

    def left(self, operator: Operator, computed: Sequence[Array], setting: Setting) -> list[Array]:
        """What an operator computed, as it leaves it under a setting."""
        return [self.put(i, y, setting) for i, y in zip(operator.outputs, computed, strict=True)]

    def computed(self, operator: Operator, values: Values, known: Values, sums: Sums | None = None) -> list[Array]:
        """The outputs of one operator before any grid; ``known`` constants take the place of the stored ones.

        ``sums`` as for ``compute``.
        """
        graph = self.graph
        held = {i: values[i] if i in values else known.get(i, self.constants.get(i)) for i in operator.inputs}
        arguments = [None if i < 0 or graph.tensors[i].is_variable else held[i] for i in operator.inputs]
        varies = [i >= 0 and i in values for i in operator.inputs]
        if not any(varies) and arguments and arguments[0] is not None:  # constants go in: one row stands for all
            arguments[0], varies[0] = arguments[0][None], True
        try:
            return compute(self._node(operator), arguments, varies, sums)
        except (NoKernel, ValueError, IndexError, TypeError, AttributeError) as error:
            raise UnsupportedOp(f"operator {operator.index} {operator.op}: {error or type(error).__name__}") from error

    def _node(self, operator: Operator) -> Node:
        """The operator with its tensors, put together once."""
        known = self.nodes.get(operator.index)
        if known is None or known.operator is not operator:
            known = self.nodes[operator.index] = node_of(self.graph, operator)
        return known

    def needed(self, wanted: Iterable[int], known: Container[int]) -> AbstractSet[int]:
        """The operators that lie between what is known and what is wanted."""
        waiting, found = list(wanted), set[int]()
        while waiting:
            tensor = waiting.pop()
            maker = self.graph.producer(tensor)
            if tensor not in known and maker is not None and maker.index not in found | self.folded:
                found.add(maker.index)
                waiting += [i for i in maker.inputs if i >= 0]
        return found


def grid_of(graph: Graph, tensor: int) -> Grid | None:
    """The grid of an activation; that of an input, or of floats quantized, by TFLite's own rounding."""
    stored, maker = graph.tensors[tensor].grid, graph.producer(tensor)
    if stored is None:
        return None
    from_floats = maker is None or (maker.op == "QUANTIZE" and is_float(graph.tensors[maker.inputs[0]].dtype))
    return in_real_units(stored, single=from_floats)


def in_real_units(stored: StoredGrid, *, single: bool = False) -> Grid:
    """A stored grid as a grid of real numbers; its scale is the file's float32."""
    (scale,), (zero_point,) = stored.params.scale, stored.params.zero_point
    return Grid(float(np.float32(scale)), int(zero_point), *INTEGER_RANGE[stored.dtype], single)


Loops = tuple[tuple[Operator, ...], ...]
"""Operators in the order in which they run; several together go sample by sample."""


def is_delay(operator: Operator) -> bool:
    """Whether an operator gives what the sample before left."""
    return operator.op == DELAY


def shifted(assigned: Array, first: Array, count: int) -> Array:
    """One sample later. Shapes: assigned (samples or 1, …), first (…) -> (count, …)."""
    rows = np.broadcast_to(assigned, (count, *assigned.shape[1:]))
    return np.concatenate([first.reshape(1, *rows.shape[1:]).astype(rows.dtype), rows[:-1]])


def in_loops(graph: Graph, folded: AbstractSet[int]) -> Loops:
    """The operators in an order in which each finds what it reads, a delay behind what is assigned."""
    running = [op for op in graph.operators if op.index not in folded]
    if not any(map(is_delay, running)):
        return tuple((op,) for op in running)
    makers = {i: k for k, op in enumerate(running) for i in op.outputs}
    reads = [[makers[i] for i in op.inputs if i in makers] for op in running]
    read_by: list[list[int]] = [[] for _ in running]
    for k, made in enumerate(reads):
        for maker in made:
            read_by[maker].append(k)
    order = [k for some in _finished(range(len(running)), read_by) for k in some]
    return tuple(tuple(running[k] for k in sorted(loop)) for loop in _finished(reversed(order), reads))


def _finished(starts: Iterable[int], edges: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """From each start what is met for the first time, depth first, each behind what is met from it.

    Twice, from the last that was finished and against the edges, it finds what waits for each other, in linear time:
    S. R. Kosaraju; M. Sharir, "A strong-connectivity algorithm", 1981.
    """
    met = set[int]()
    for start in starts:
        path, found = [] if start in met else [(start, iter(edges[start]))], list[int]()
        met.add(start)
        while path:
            new = next((k for k in path[-1][1] if k not in met), None)
            if new is None:
                found.append(path.pop()[0])
            else:
                met.add(new)
                path.append((new, iter(edges[new])))
        if found:
            yield found
