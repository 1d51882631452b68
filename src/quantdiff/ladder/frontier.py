"""The frontier: the runtime's own tensors up to an operator, the reference's real arithmetic behind it.

Moved over the graph in its own order it changes the outputs, operator by operator and mechanism by mechanism; for
every single output these changes add up to the whole difference, whatever the network is
(``docs/decisions/0012-the-frontier.md``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.explanation import (
    BIAS,
    CLIPPING,
    INPUT,
    KERNEL,
    RANGES,
    STEPS,
    WEIGHTS,
)
from quantdiff.ladder.real_graph import Grid, Setting, Values, is_delay
from quantdiff.ladder.real_operator import Sums
from quantdiff.ladder.rungs import side_by_side
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array

TIE = 1e-6  # of a step: nearer to the middle between two steps than sums of floats can tell
FLOAT32 = 2.0**-22  # of a value that is divided in float32, or multiplied by an inverse: as runtimes quantize floats
EQUAL = 1e-9  # of a step: a value that moved by less did not move
UNDEFINED = 1e150  # what real arithmetic gives behind 1/0
SMALL = 64
"""Operators up to which each is looked at; beyond, stretches of the network that change next to nothing are one."""
NEXT_TO_NOTHING = 1e-6  # of the error power


@dataclass(frozen=True, slots=True)
class Move:
    """One mechanism of one operator; ``operator`` None stands for an input of the graph, ``tensor`` is what it gives.

    ``mechanism`` "" stands for a stretch of operators that changes next to nothing.
    """

    operator: int | None
    tensor: int
    mechanism: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """Some samples on the way from the reference's real arithmetic to the runtime.

    ``inputs`` are real; ``recorded`` are the runtime's tensors in real units, those that the file bounds at its very
    end before their grid. ``units``: real units of one step, by output. ``exact``, of a stream: what the reference's
    arithmetic makes of the runtime's own values. Shapes: samples along axis 0.
    """

    switches: Switches
    inputs: Sequence[Array]
    recorded: Values
    units: tuple[float, ...]
    real: Setting
    stages: tuple[Operator | int, ...] = field(default=())
    exact: Values = field(default_factory=dict)

    def outputs(self, start: Values, setting: Setting | None = None) -> Array:
        """All outputs in steps, the samples' elements side by side; what lies behind ``start`` is real arithmetic."""
        graph = self.switches.file.graph
        with np.errstate(all="ignore"):
            values = self.switches.file.run(self.inputs, setting or self.real, start, graph.outputs)
        return beside([values[i] for i in graph.outputs], self.units, len(self.inputs[0]))

    def before(self, stage: int) -> Values:
        """The runtime's tensors up to a stage: inputs first, then operators in their order."""
        made = (i for each in self.stages[:stage] for i in _made(each))
        return {i: self.recorded[i] for i in made if i in self.recorded}

    def at(self, stage: int) -> Array:
        """The outputs with the frontier before a stage."""
        known = self.before(stage)
        return self.outputs(known) if stage == len(self.stages) else self.behind(known)

    def behind(self, known: Values) -> Array:
        """The outputs where some tensors are the runtime's, or on the way to them.

        In a stream each is as far from exact arithmetic as the runtime makes it of its own values: what the samples
        before have left would else be told as made here.
        """
        if not self.switches.file.streams:
            return self.outputs(known)
        added = {i: y - self.exact[i] for i, y in known.items() if i in self.exact}
        return self.outputs({}, replace(self.real, added=added))

    def within(self, stage: int, *, ties: bool = True) -> Iterator[tuple[str, list[Array]]]:
        """What a stage gives, fed with the runtime's own values, from the reference's arithmetic to the runtime's.

        ``ties`` as the runtime rounds them, else all upwards. Operators before it that the runtime does not show, as
        in the body of a loop, are a part of it.
        """
        each = self.stages[stage]
        if isinstance(each, int):
            yield "", [self.switches.file.put(each, self._input(each), self.real)]
            yield INPUT, [self.recorded[each]]
            return
        file, computed = self.switches.file, list[Array]()
        hidden, sums = self._hidden(each), Sums()
        for mechanism, setting in local_settings(self.switches, (*hidden, each)):
            if hidden or mechanism in ("", WEIGHTS, BIAS):  # all others act on what was computed
                known = self._fed(each, setting)
                computed = file.computed(each, known, setting.constants, None if hidden else sums)
            yield (
                mechanism,
                [
                    as_near(file.grids[i], y, left, self.recorded[i]) if ties and i in setting.rounded else left
                    for i, y, left in zip(each.outputs, computed, file.left(each, computed, setting), strict=True)
                ],
            )
        yield KERNEL, [self.recorded[i] for i in each.outputs]

    def _input(self, tensor: int) -> Array:
        return self.inputs[self.switches.file.graph.inputs.index(tensor)]

    def _hidden(self, operator: Operator) -> list[Operator]:
        """Those between what the runtime shows and an operator."""
        if all(i < 0 or i in self.recorded or i in self.switches.file.constants for i in operator.inputs):
            return []
        needed = self.switches.file.needed(operator.inputs, self.recorded)
        return [op for op in self.switches.file.operators if op.index in needed]

    def _fed(self, operator: Operator, setting: Setting) -> Values:
        """The operator's inputs as the runtime has them; what it does not show, computed of what it does."""
        hidden = [i for i in operator.inputs if i >= 0 and i not in self.switches.file.constants]
        if all(i in self.recorded for i in hidden):
            return self.recorded
        return self.switches.file.run(self.inputs, setting, self.recorded, hidden)


def frontier(switches: Switches, inputs: Sequence[Array], recorded: Values, units: tuple[float, ...]) -> Frontier:
    """Set up; ``recorded`` are the runtime's tensors in real units, as many as it gives back, inputs among them."""
    file = switches.file
    left = {i for op in file.operators if is_delay(op) for i in op.outputs}  # it comes from what is assigned
    recorded = {i: values for i, values in recorded.items() if i not in left}
    bare = Frontier(switches, inputs, recorded, units, switches.rewritten)
    ends = {i: _before_its_grid(bare, i) for i in switches.ends if i is not None}
    known = {i: values for i, values in recorded.items() if i not in _behind(switches)} | ends
    stages: tuple[Operator | int, ...] = (
        *(i for i in file.graph.inputs if i in file.grids and i in known),
        *(op for op in file.operators if any(i in known for i in op.outputs)),
    )
    found = Frontier(switches, inputs, known, units, switches.rewritten, stages)
    if not file.streams:
        return found
    fed = [next(found.within(k))[1] for k in range(len(stages))]
    exact = {i: y for each, some in zip(stages, fed, strict=True) for i, y in zip(_made(each), some, strict=True)}
    return replace(found, exact={i: y for i, y in exact.items() if y.dtype.kind == "f"})


def _made(stage: Operator | int) -> tuple[int, ...]:
    return (stage,) if isinstance(stage, int) else stage.outputs


def _behind(switches: Switches) -> frozenset[int]:
    """Tensors that restate an end: the runtime's lie on the output's grid, which is told apart from the rest."""
    graph, found = switches.file.graph, set[int]()
    for output, end in zip(graph.outputs, switches.ends, strict=True):
        tensor = output
        while end is not None and tensor != end and (maker := graph.producer(tensor)) is not None:
            found.add(tensor)
            tensor = maker.inputs[traits(maker.op).x]
    return frozenset(found)


def _before_its_grid(bare: Frontier, tensor: int) -> Array:
    """What the runtime's last operator would give without the output's grid: exact sums, moved by its own integers."""
    file = bare.switches.file
    operator, grid = file.graph.producer(tensor), file.grids[tensor]
    assert operator is not None
    place = operator.outputs.index(tensor)
    *_, (_, setting) = local_settings(bare.switches, (*bare._hidden(operator), operator))
    real = file.operate(operator, bare._fed(operator, setting), setting)[place]
    recorded = bare.recorded[tensor]
    nearest = as_near(grid, real, grid.bounded(real), recorded)
    steps = grid.integers(recorded) - grid.integers(nearest)
    return np.asarray(real + steps * grid.scale)


def as_near(grid: Grid, real: Array, rounded: Array, recorded: Array) -> Array:
    """What was rounded, half way between two steps to the runtime's: both are nearest, and no kernel errs there."""
    steps = real / grid.scale
    near = FLOAT32 * np.abs(steps) + TIE if grid.single else TIE
    tied = np.abs(steps - np.floor(steps) - 0.5) < near
    if not tied.any():
        return rounded
    return np.where(tied & (np.abs(recorded / grid.scale - steps) < 0.5 + 2 * near), recorded, rounded)


def local_settings(switches: Switches, operators: Sequence[Operator]) -> list[tuple[str, Setting]]:
    """The settings of some operators: each exchanges one mechanism more; the first is the reference's."""
    made = [i for operator in operators for i in operator.outputs]
    bounded = [i for i in made if i in switches.file.varying | switches.own.keys()]
    inner = frozenset(i for i in bounded if i not in switches.ends)
    given = switches.inputs & inner
    owned = frozenset(i for i in inner if i in switches.own)
    constants = dict.fromkeys((WEIGHTS, BIAS), False)
    read = (i for operator in operators for i in operator.inputs)
    constants |= {switches.mechanism(i): True for i in read if i in switches.matches}
    own = {i: switches.own[i] for i in owned}
    found = [("", Setting(switches.constants(False, False), own))]
    if constants[WEIGHTS]:
        found.append((WEIGHTS, Setting(switches.constants(True, False), own)))
    if constants[BIAS]:
        found.append((BIAS, Setting(switches.constants(True, True), own)))
    if given:
        found.append((INPUT, Setting({}, {}, given, given)))
    if owned - given:
        found.append((RANGES, Setting({}, {}, owned | given, owned | given)))
    if inner - owned - given:
        found.append((CLIPPING, Setting({}, {}, inner, owned | given)))
        found.append((STEPS, Setting({}, {}, inner, inner)))
    return found


def walk(frontier: Frontier, first: Array, last: Array) -> Iterator[tuple[Move, Array]]:
    """Every move and what it changes, in steps. Shapes: (samples, elements of all outputs).

    ``first`` and ``last`` are the outputs before the first move and after the last one.

    A value behind which real arithmetic is undefined (1/0) waits until outputs are finite again, and is told with the
    move that caused it.
    """
    count = len(frontier.stages)
    whole = float(np.square(last - first).mean())
    negligible = whole * (NEXT_TO_NOTHING if count > SMALL else 0)
    waiting: list[Stretch] = [((0, count), (first, last))]
    while waiting:
        found = side_by_side(partial(_halved, frontier, negligible), waiting)
        waiting = [stretch for _, parts in found for stretch in parts]
        for moves, _ in found:
            yield from moves


Stretch = tuple[tuple[int, int], tuple[Array, Array]]
"""Stages from one to another, and the outputs before and behind them."""


def _halved(
    frontier: Frontier, negligible: float, stretch: Stretch
) -> tuple[list[tuple[Move, Array]], tuple[Stretch, ...]]:
    """The moves of a stretch that is not halved any more, or its halves."""
    (low, high), (before, after) = stretch
    if high <= low:
        return [], ()
    change = after - before
    if high - low == 1:
        return list(_inside(frontier, low, (before, after))), ()
    if not change.any() and negligible:
        return [], ()
    if defined(change) and float(np.square(change).mean()) < negligible:
        return [(Move(None, -1, ""), change)], ()
    for middle in _from_the_middle(low, high):
        if defined(between := frontier.at(middle)):
            return [], (((low, middle), (before, between)), ((middle, high), (between, after)))
    return [(_move(frontier, low, KERNEL), change)], ()


def _from_the_middle(low: int, high: int) -> list[int]:
    """The stages inside a stretch, the middle one first."""
    middle = (low + high) // 2
    return sorted(range(low + 1, high), key=lambda k: abs(k - middle))


def _inside(frontier: Frontier, stage: int, ends: tuple[Array, Array]) -> Iterator[tuple[Move, Array]]:
    """The mechanisms of one stage."""
    steps = list(frontier.within(stage))
    known, (at, after) = frontier.before(stage), ends
    moved = [k for k in range(1, len(steps)) if not _equal(frontier, stage, steps[k - 1][1], steps[k][1])]
    tensors = _made(frontier.stages[stage])
    between = [{**known, **dict(zip(tensors, steps[k][1], strict=True))} for k in moved[:-1]]
    waiting: str | None = None
    for k, now in zip(moved, [*side_by_side(frontier.behind, between), after], strict=bool(moved)):
        waiting = waiting or steps[k][0]
        if defined(now):
            yield _move(frontier, stage, waiting), now - at
            at, waiting = now, None
    if not moved and (after != at).any():
        yield _move(frontier, stage, KERNEL), after - at


def _largest(a: Array, b: Array) -> float:
    """The largest difference; truth values count as 0 and 1."""
    return float(np.abs(np.subtract(a, b, dtype=np.float64)).max(initial=0.0))


def _equal(frontier: Frontier, stage: int, before: Sequence[Array], after: Sequence[Array]) -> bool:
    outputs = _made(frontier.stages[stage])
    grids = frontier.switches.file.grids
    units = [grids[i].scale * EQUAL if i in grids else 0.0 for i in outputs]
    pairs = zip(before, after, units, strict=True)
    return all(_largest(a, b) <= unit for a, b, unit in pairs)


def _move(frontier: Frontier, stage: int, mechanism: str) -> Move:
    made = frontier.stages[stage]
    return Move(None, made, mechanism) if isinstance(made, int) else Move(made.index, made.outputs[0], mechanism)


def defined(values: Array) -> bool:
    """Whether all is finite, and nothing stands for 1/0."""
    return bool(np.isfinite(values).all()) and float(np.abs(values).max(initial=0)) < UNDEFINED


def beside(outputs: Sequence[Array], units: Sequence[float], samples: int) -> Array:
    """Several outputs in steps, side by side. Shape: (samples, elements of all)."""
    rows = [
        np.broadcast_to(y, (samples, *y.shape[1:])).reshape(samples, -1) / u
        for y, u in zip(outputs, units, strict=True)
    ]
    return np.concatenate(rows, axis=1).astype(np.float64)


def in_real_units(switches: Switches, values: Mapping[int, Array], samples: int) -> dict[int, Array]:
    """A runtime's tensors in real units, double; what has no grid as it is; without those that never vary."""
    grids, found = switches.file.grids, dict[int, Array]()
    for tensor, stored in values.items():
        if (array := by_sample(switches, tensor, stored, samples)) is None:
            continue
        grid = grids.get(tensor)
        if grid is not None and array.dtype.kind in "iu":
            found[tensor] = np.subtract(array, grid.zero_point, dtype=np.float64)
            found[tensor] *= grid.scale
        else:
            found[tensor] = array.astype(np.float64) if array.dtype.kind == "f" else array
    return found


def by_sample(switches: Switches, tensor: int, stored: Array, samples: int) -> Array | None:
    """A runtime's tensor in the shape that it has at run time, samples along axis 0; None where it never varies."""
    shape = switches.shapes.get(tensor, stored.shape[1:])
    fits = tensor not in switches.file.constants and stored.size == samples * math.prod(shape)
    return stored.reshape(samples, *shape) if fits else None


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
