"""Count, slice by slice, what differs at each rung: where each output comes right, and what each layer makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.graph import Model, Operator, Tensor, keeps_resources
from quantdiff.ladder.explanation import (
    BIAS,
    CURVES,
    INPUT,
    LISTED,
    MECHANISMS,
    RANGES,
    REAL,
    REFERENCE,
    REWRITTEN,
    ROUNDING,
    RUNTIME,
    WEIGHTS,
    Difference,
    LayerLadder,
    Rung,
)
from quantdiff.ladder.frontier import by_sample, in_real_units
from quantdiff.ladder.real_graph import Setting, Values
from quantdiff.ladder.real_operator import PRODUCTS, Sums
from quantdiff.ladder.rungs import RealRungs, Target, rows_of, side_by_side
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array, same_bits
from quantdiff.run.inner_tensors import Reading, read_at_once, readable_tensors
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.node import NoKernel, fitting, node_of, real_of
from quantdiff.sim.real.sums import exact_sums


@dataclass(slots=True)
class Account:
    """Running sums over the data; nothing grows with it."""

    mechanisms: tuple[str, ...]
    count: int = 0
    differing: int = 0
    after: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    listed: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.mechanisms)
        self.after, self.resolved, self.changed, self.steps = [0] * size, [0] * size, [0] * size, [0] * size

    def add(
        self, targets: Sequence[Target], rungs: Sequence[Sequence[Array]], start: int = 0, samples: int = 1
    ) -> None:
        """Outputs at every rung, each a sequence in the order of ``targets``, of ``samples`` beginning with ``start``.

        An output comes right at the first rung from which on it is the runtime's at every rung.
        """
        for k, target in enumerate(targets):
            wrong = np.stack([target.wrong(outputs[k]).ravel() for outputs in rungs])
            self.count += wrong.shape[1]
            self.differing += int(np.count_nonzero(wrong[0]))
            last_wrong = len(rungs) - 1 - np.argmax(wrong[::-1], axis=0)
            came_right = np.bincount(last_wrong[wrong[0]] + 1, minlength=len(rungs) + 1)
            self._list(k, target, rungs[0][k], last_wrong + 1, (start, samples))
            for r, outputs in enumerate(rungs):
                self.after[r] += int(np.count_nonzero(wrong[r]))
                self.resolved[r] += int(came_right[r])
                self.steps[r] = _larger(self.steps[r], target.distance(outputs[k]))
                if r > 0:
                    self.changed[r] += int(
                        np.count_nonzero(Target(rungs[r - 1][k], target.tolerance).wrong(outputs[k]))
                    )

    def _list(self, output: int, target: Target, first: Array, right: Array, samples: tuple[int, int]) -> None:
        """Where the first differing outputs are, and the rung from which on each is right."""
        start, count = samples
        size = right.size // count
        flat, truth = first.ravel(), target.values.ravel()
        for i in np.flatnonzero(target.wrong(first).ravel())[: LISTED - len(self.listed)].tolist():
            steps = None if target.tolerance is not None else int(flat[i]) - int(truth[i])
            mechanism = self.mechanisms[right[i]]
            self.listed.append(Difference(start + i // size, output, i % size, steps, mechanism))

    def __add__(self, other: Account) -> Account:
        """With the samples behind; what the first of them lack is not known of the others."""
        both = Account(self.mechanisms, self.count + other.count, self.differing + other.differing)
        both.after, both.resolved, both.changed = (
            [a + b for a, b in zip(*each, strict=True)]
            for each in ((self.after, other.after), (self.resolved, other.resolved), (self.changed, other.changed))
        )
        both.steps = [_larger(a, b) for a, b in zip(self.steps, other.steps, strict=True)]
        both.listed = [*self.listed, *other.listed][:LISTED]
        return both

    def rungs(self) -> tuple[Rung, ...]:
        """The ladder as values."""
        rows = zip(self.mechanisms, self.after, self.resolved, self.steps, self.changed, strict=True)
        return tuple(Rung(*row) for row in rows)


@dataclass(slots=True)
class LayerAccount:
    """The same for one layer: accumulated and local."""

    layer: str
    tensor: str
    op: str
    rungs: int
    count: int = 0
    after: list[int] = field(default_factory=list)
    local: list[int] = field(default_factory=list)
    local_steps: int = 0

    def __post_init__(self) -> None:
        self.after, self.local = [0] * self.rungs, [0] * self.rungs

    def add(self, target: Target, whole: Mapping[int, Array], local: Mapping[int, Array]) -> None:
        """The layer's output by rung; a rung that is left out differs nowhere."""
        self.count += target.values.size
        arrays = {id(values): values for values in (*whole.values(), *local.values())}  # many rungs change nothing
        wrong = {key: int(np.count_nonzero(target.wrong(values))) for key, values in arrays.items()}
        for r, values in whole.items():
            self.after[r] += wrong[id(values)]
        for r, values in local.items():
            self.local[r] += wrong[id(values)]
        if 0 in local:
            self.local_steps = max(self.local_steps, target.distance(local[0]) or 0)

    def __add__(self, other: LayerAccount) -> LayerAccount:
        """With the samples behind."""
        both = LayerAccount(self.layer, self.tensor, self.op, self.rungs, self.count + other.count)
        both.after = [a + b for a, b in zip(self.after, other.after, strict=True)]
        both.local = [a + b for a, b in zip(self.local, other.local, strict=True)]
        both.local_steps = max(self.local_steps, other.local_steps)
        return both

    def value(self) -> LayerLadder:
        """The layer's ladder as a value."""
        return LayerLadder(
            self.layer,
            self.tensor,
            self.op,
            self.count,
            tuple(self.after),
            tuple(self.local),
            self.local_steps,
        )


def _larger(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)


ELEMENTS_AT_ONCE = 2**21
"""Of the runtime's tensors, which the first rungs hold as doubles."""


AT_MOST = 2**24
"""The same where a part would be a single run of a large network: two share what Python does between products."""


def in_parts(reading: Reading, *, whole: bool = False) -> Iterator[Reading]:
    """A slice as parts of which every rung of real arithmetic finds room in memory at once; ``whole`` as it is."""
    runs = len(reading.inputs[0])
    each = sum(v.size for v in reading.values.values()) // max(1, runs)
    size = max(1, ELEMENTS_AT_ONCE // max(1, each), min(2, AT_MOST // max(1, each)))
    if size >= runs or whole:
        yield reading
        return
    samples = len(reading.rows) // runs
    for at in range(0, runs, size):
        place = slice(at, at + size)
        rows = slice(at * samples, (at + size) * samples)
        yield replace(
            reading,
            start=reading.start + rows.start,
            rows=reading.rows.part(rows),
            inputs=tuple(x[place] for x in reading.inputs),
            values={i: rows_of(v, runs, place) for i, v in reading.values.items()},
            outputs=tuple(rows_of(y, runs, place) for y in reading.outputs),
            changed=0 if at else reading.changed,
        )


PART, LARGEST_PART = 256, 4096
"""Samples of a part at least, since the runtime reads the file again for each; and at most."""


def samples_in_part(model: Model) -> int:
    """The samples that are explained together, by the file alone: whole slices, and whole invocations."""
    size = read_at_once(model, readable_tensors(model.main, None))
    if keeps_resources(model.main):  # a part is a stream of its own
        return min(size, LARGEST_PART)
    rows = max((model.main.tensors[i].shape[0] for i in model.main.inputs if model.main.tensors[i].shape), default=1)
    size = min(size * max(1, -(-PART // size)), LARGEST_PART)
    return max(1, size // max(1, rows)) * max(1, rows)


Layers = Sequence[tuple[str, int]]
"""Name in the reference, tensor of the file."""
BIAS_AT = 2
BYTES = ("int8", "uint8")
ABOVE = MECHANISMS[: MECHANISMS.index(RUNTIME)]


def layers_of(switches: Switches) -> Layers:
    """Every tensor on a grid of its own that has a partner: of the alignment, where there is one."""
    graph, known = switches.file.graph, switches.names or switches.partners
    return [
        (switches.layer_of(i), i)
        for op in switches.file.operators
        for i in op.outputs
        if i in known and i in switches.file.grids and i not in switches.file.copies and graph.producer(i)
    ]


def add_layers(
    on: tuple[Switches, Rules | None],
    sums: dict[int, LayerAccount],
    reading: Reading,
    rungs: tuple[RealRungs, Mapping[str, Values]],
) -> None:
    """Each layer at every rung, of real arithmetic and of the simulator: as it comes, and of the runtime's input."""
    switches, graph = on[0], on[0].file.graph
    given, runs = {**dict(zip(graph.inputs, reading.inputs, strict=True)), **reading.values}, len(reading.inputs[0])
    shaped = {i: by_sample(switches, i, values, runs) for i, values in given.items()}
    stored = {i: values for i, values in shaped.items() if values is not None}
    known: list[tuple[int, Operator]] = []
    for name, tensor in layers_of(switches):
        operator = graph.producer(tensor)
        if operator is not None and tensor in stored and stored[tensor].dtype.kind in "iu":
            account = LayerAccount(name, graph.tensors[tensor].label, operator.op, len(MECHANISMS))
            sums.setdefault(tensor, account)
            known.append((tensor, operator))
    settings = switches.rungs()
    side_by_side(lambda each: _add_layer(on, sums[each[0]], each, stored, (*rungs, settings)), known)


def _add_layer(
    on: tuple[Switches, Rules | None],
    account: LayerAccount,
    layer: tuple[int, Operator],
    stored: Values,
    rungs: tuple[RealRungs, Mapping[str, Values], Sequence[tuple[str, Setting]]],
) -> None:
    """One layer; ``stored`` are the runtime's tensors."""
    (tensor, operator), (real, simulated, settings) = layer, rungs
    place = {mechanism: k for k, mechanism in enumerate(MECHANISMS)}
    grid, kind = on[0].file.grids[tensor], stored[tensor].dtype
    held = {m: values[tensor] for m, values in real.values.items() if tensor in values}
    each = {id(values): values for values in held.values()}
    integers = {key: y if y.dtype.kind in "iu" else grid.integers(y, kind) for key, y in each.items()}
    whole = {m: integers[id(values)] for m, values in held.items()}
    whole[REFERENCE] = whole.get(REAL, whole[REWRITTEN])
    whole |= {m: values[tensor] for m, values in simulated.items() if tensor in values}
    local = _local((on[0], settings), stored, tensor, operator)
    local |= _simulated(on, operator, stored, simulated.get(ROUNDING, {})) if local else {}
    target = Target(stored[tensor].reshape(-1))
    account.add(
        target, {place[m]: y for m, y in _filled(whole).items()}, {place[m]: y for m, y in _filled(local).items()}
    )


def _filled(found: Mapping[str, Array]) -> dict[str, Array]:
    """Every rung above the runtime's; one that changes nothing, or is not there, stands where the one above it does."""
    if not found:
        return {}
    filled, last = dict[str, Array](), found.get(REFERENCE, found[REWRITTEN])
    for mechanism in ABOVE:
        last = found.get(mechanism, last)
        filled[mechanism] = last
    return filled


def _local(
    on: tuple[Switches, Sequence[tuple[str, Setting]]], stored: Values, tensor: int, operator: Operator
) -> dict[str, Array]:
    """The layer's integers at the rungs that exchange something of it, of the runtime's own input.

    A rung that only bounds or rounds to the file's grid gives the same integers as the one above it.
    """
    (switches, settings), file = on, on[0].file
    graph, grid, (runs, *_) = file.graph, file.grids[tensor], (shape := stored[tensor].shape)
    fed = in_real_units(switches, {i: stored[i] for i in operator.inputs if i in stored}, runs)
    known = fed.keys() | file.constants.keys()
    if any(i >= 0 and i not in known and not graph.tensors[i].is_variable for i in operator.inputs):
        return {}
    place, found, computed = operator.outputs.index(tensor), dict[str, Array](), list[Array]()
    exchanged, sums = _exchanged(switches, operator, tensor), _exact(switches, operator, stored)
    for mechanism, setting in settings:
        if mechanism in exchanged:
            if mechanism in (REWRITTEN, WEIGHTS, BIAS):  # all others act on what was computed
                computed = file.computed(operator, fed, setting.constants, sums)
            left = grid.integers(file.left(operator, computed, setting)[place], stored[tensor].dtype)
            found[mechanism] = left if left.shape == shape else np.broadcast_to(left, shape)
    return found


def _exact(switches: Switches, operator: Operator, stored: Values) -> Sums:
    """The sums of stored weights on stored values, where both are integers: exact, and sooner had than in double."""
    file, tensors = switches.file, switches.file.graph.tensors
    if operator.op not in PRODUCTS or len(operator.inputs) <= BIAS_AT:
        return {}
    x, w = operator.inputs[:BIAS_AT]
    if x not in stored or x not in file.grids or not _in_bytes(tensors[w], traits(operator.op).channel_axis):
        return {}
    values, weights = stored[x], tensors[w].data
    assert weights is not None
    with suppress(NoKernel), fitting():  # a zero point for each channel; a damaged file
        rows = -1 if operator.op == "FULLY_CONNECTED" else values.shape[1]
        held = exact_sums(node_of(file.graph, operator), values.reshape(-1, *values.shape[2:]), weights)
        return {id(file.constants[w]): replace(held, shape=(len(values), rows, *held.shape[1:]))}
    return {}


def _in_bytes(weights: Tensor, channel_axis: int) -> bool:
    """Whether the file holds them as they are, with a scale for all or for each channel of the output."""
    plain = weights.sparsity is None and weights.blocks is None and weights.is_constant
    quant = weights.quant
    return plain and weights.dtype in BYTES and quant is not None and quant.axis in (None, channel_axis)


def _exchanged(switches: Switches, operator: Operator, tensor: int) -> set[str]:
    """The rungs at which a layer changes, and the one before them all."""
    found = {REWRITTEN, *(switches.mechanism(i) for i in operator.inputs if i in switches.matches)}
    if tensor in switches.inputs:
        return found | {INPUT}
    return found | ({RANGES} if tensor in switches.own else set())


def _simulated(
    on: tuple[Switches, Rules | None], operator: Operator, stored: Values, chain: Values
) -> dict[str, Array]:
    """The same as the runtime computes it; nothing where the simulator lacks the operator.

    Where its ``chain`` arrives with the runtime's own tensors, it has computed just that.
    """
    (switches, runtime), graph = on, on[0].file.graph
    if runtime is None:
        return {}
    fed = [i for i in operator.inputs if i in stored]
    try:
        if operator.outputs[0] in chain and all(i in chain and same_bits(chain[i], stored[i]) for i in fed):
            y = chain[operator.outputs[0]]
        else:
            (y, *_) = run_operator(graph, operator, stored, runtime)
    except (NoKernel, KeyError):
        return {}
    real = real_of(node_of(switches.file.graph, operator))
    curves = {CURVES: y} if real is None or real.curve else {}
    return {**curves, ROUNDING: y}
