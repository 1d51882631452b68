"""What ``verify`` finds: a verdict for each runtime, and what each operator gives on the runtime's own inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.compare.device import Diagnosis
from quantdiff.graph import STATE, Graph, Operator, keeps_resources
from quantdiff.lazy import Shown
from quantdiff.quant import Array, differing, same_bits
from quantdiff.run.runner import Progress, silent
from quantdiff.sim.device import Rules
from quantdiff.sim.enclosures import Enclosure
from quantdiff.sim.graph.chains import Known, Outcome, attempt, fed_alike, fed_to
from quantdiff.sim.graph.operators import enclose_operator, ran_by
from quantdiff.sim.graph.simulator import CONTROL, Missing, Simulation, missing_inputs, replay
from quantdiff.sim.node import NoKernel, kernels, node_of

FAILED = ("crashed", "unavailable")
STATUSES = (*FAILED, "differs", "unsupported", "within", "exact")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class OperatorResult:
    """One operator, fed with the runtime's own input: elements compared, and how many differ.

    ``kernel`` names the runtime whose kernel ran: ``builtin`` where XNNPACK declines the operator. Where ``width`` is
    given, elements were held against intervals, so many units in the last place wide in the median, and
    ``mismatches`` lie outside.
    """

    index: int
    op: str
    kernel: str
    count: int
    mismatches: int
    width: float | None = None

    def __add__(self, other: OperatorResult) -> OperatorResult:
        """Of both parts of the data; of the widths the larger, which is never below that of the whole."""
        counts = self.count + other.count, self.mismatches + other.mismatches
        widths = [each.width for each in (self, other) if each.width is not None]
        return OperatorResult(self.index, self.op, self.kernel, *counts, max(widths, default=None))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one runtime gave: ``exact``, ``within``, ``differs``, ``unsupported``, ``crashed`` or ``unavailable``.

    ``within``: no bit is wrong where bits are known, and every other element lies inside its proven interval.
    ``count`` and ``mismatches`` add up the operators; ``chain_…`` are those of the final outputs when the
    simulator runs on its own results; ``delegated_as_expected`` says that XNNPACK took the operators that the
    rules say, by the interpreter's own report; ``faithful`` that reading the tensors between did not change the
    final outputs. ``why`` is the runtime's own word where it failed, or that it is not simulated; ``doubt`` says
    where its release is not one that the rules were checked with. ``device`` is what a dump tells.
    """

    status: str
    operators: tuple[OperatorResult, ...] = ()
    unsupported: tuple[Missing, ...] = ()
    skipped: tuple[int, ...] = ()
    chain_count: int = 0
    chain_mismatches: int = 0
    faithful: bool = True
    delegated_as_expected: bool = True
    why: str = ""
    doubt: str = ""
    device: Diagnosis | None = None

    def __add__(self, other: Verdict) -> Verdict:
        """Of both parts of the data: counts add up, the worse status stands, a runtime that failed gave nothing."""
        worse, better = sorted((self, other), key=lambda each: STATUSES.index(each.status))
        if worse.status in FAILED:
            return worse
        unsupported = {each.index: each for each in (*self.unsupported, *other.unsupported)}
        theirs = {(each.index, each.op): each for each in other.operators}
        both = [(each, theirs[each.index, each.op]) for each in self.operators if (each.index, each.op) in theirs]
        return Verdict(
            worse.status,
            tuple(ours + its for ours, its in both),
            tuple(unsupported[index] for index in sorted(unsupported)),
            tuple(sorted({*self.skipped, *other.skipped})),
            self.chain_count + other.chain_count,
            self.chain_mismatches + other.chain_mismatches,
            self.faithful and other.faithful,
            self.delegated_as_expected and other.delegated_as_expected,
            worse.why or better.why,
            worse.doubt or better.doubt,
        )

    @property
    def count(self) -> int:
        """Elements compared, over all operators."""
        return sum(result.count for result in self.operators)

    @property
    def mismatches(self) -> int:
        """Elements that differ, over all operators."""
        return sum(result.mismatches for result in self.operators)


@dataclass(frozen=True, slots=True)
class Verification(Shown):
    """A verdict per runtime, and what they were made from."""

    verdicts: Mapping[str, Verdict]
    made_by: Mapping[str, Any] = field(default_factory=dict)


Values = Mapping[int, Array]


@dataclass(frozen=True, slots=True)
class Compared:
    """The operators of one runtime that were computed, and those that could not be."""

    operators: tuple[OperatorResult, ...]
    unsupported: tuple[Missing, ...]


def compare_operators(
    graph: Graph, values: Mapping[Rules, Values], subgraphs: Sequence[Graph] = (), progress: Progress = silent
) -> tuple[dict[Rules, Compared], Known]:
    """What each operator gives otherwise than the runtimes, and all outcomes for who needs them again.

    Runtimes that hold the very same arrays are computed together. What cannot be read has no elements to compare;
    the operators behind it are, on our own values.
    """
    held_by = {runtime: dict(held) for runtime, held in values.items()}
    states = {r: replay(graph, held, r, subgraphs) for r, held in values.items()} if keeps_resources(graph) else {}
    found: dict[Rules, list[OperatorResult | Missing]] = {runtime: [] for runtime in values}
    known: dict[tuple[int, Rules], tuple[tuple[Array | None, ...], Outcome]] = {}
    for done, operator in enumerate(graph.operators):
        progress("operators", done, len(graph.operators))
        for group in fed_alike(operator, held_by):
            for runtime, outcome in _outcomes(graph, operator, held_by[group[0]], group, states, subgraphs).items():
                held = held_by[runtime]
                found[runtime].append(_held_against(graph, operator, outcome, held, runtime))
                known[operator.index, runtime] = fed_to(operator, held), _as_held(operator, outcome, held)
                held.update(_unread(operator, outcome, held))
    return {runtime: _sorted(entries) for runtime, entries in found.items()}, known


def _sorted(entries: Sequence[OperatorResult | Missing]) -> Compared:
    return Compared(
        tuple(entry for entry in entries if isinstance(entry, OperatorResult)),
        tuple(entry for entry in entries if isinstance(entry, Missing)),
    )


def _held_against(
    graph: Graph, operator: Operator, outcome: Outcome, held: Values, runtime: Rules
) -> OperatorResult | Missing:
    if isinstance(outcome, Missing):
        return _within(graph, operator, held, runtime) or outcome
    pairs = [(y, held[i]) for i, y in zip(operator.outputs, outcome, strict=True) if i in held]
    for mine, theirs in pairs:
        if mine[:1].size != theirs[:1].size:
            shapes = f"the runtime gives the shape {list(theirs.shape[1:])}, the operator {list(mine.shape[1:])}"
            return Missing(operator.index, operator.op, shapes)
    kernel = ran_by(node_of(graph, operator), runtime)
    return OperatorResult(operator.index, operator.op, kernel, *tally(pairs))


def _within(graph: Graph, operator: Operator, held: Values, runtime: Rules) -> OperatorResult | None:
    """What lies outside the intervals of an operator that is not simulated to the last bit; None without intervals."""
    if len(operator.outputs) != 1 or (output := operator.outputs[0]) not in held:
        return None
    try:
        found = enclose_operator(graph, operator, held, runtime)
    except NoKernel:
        return None
    y = held[output]
    if y.dtype.kind == "c":  # real and imaginary parts side by side
        y = np.ascontiguousarray(y).view(y.real.dtype)
    if found.low.shape[1:] != y.shape[1:]:
        return None
    low, high, width = (np.broadcast_to(array, y.shape) for array in (found.low, found.high, found.width))
    outside = Enclosure(low, high, width).outside(y)
    kernel = ran_by(node_of(graph, operator), runtime)
    return OperatorResult(operator.index, operator.op, kernel, y.size, outside, float(np.nanmedian(width)))


def _as_held(operator: Operator, outcome: Outcome, held: Values) -> Outcome:
    """The runtime's own arrays where they are the same bits: a chain that arrives at them need not compute on."""
    if isinstance(outcome, Missing):
        return outcome
    pairs = zip(operator.outputs, outcome, strict=True)
    return tuple(held[i] if i in held and same_bits(held[i], y) else y for i, y in pairs)


def _outcomes(
    graph: Graph,
    operator: Operator,
    held: Values,
    group: Sequence[Rules],
    states: Mapping[Rules, Simulation],
    subgraphs: Sequence[Graph],
) -> Mapping[Rules, Outcome]:
    """What the operator gives on each runtime of the group for what they hold; operators on the state were replayed."""
    if states and operator.op in STATE:
        return {runtime: _replayed(operator, states[runtime]) for runtime in group}
    absent = missing_inputs(graph, operator, held)
    if absent and (operator.op in kernels() or operator.op in CONTROL):
        why = f"tensor {graph.tensors[absent[0]].name!r} cannot be read from the runtime"
        return dict.fromkeys(group, Missing(operator.index, operator.op, why))
    return attempt(graph, operator, held, group, subgraphs)


def _unread(operator: Operator, outcome: Outcome, held: Values) -> Values:
    """What no runtime shows (float16, constants unpacked out of sight): who reads it is fed with our own."""
    made = () if isinstance(outcome, Missing) else zip(operator.outputs, outcome, strict=True)
    return {i: y for i, y in made if i not in held}


def _replayed(operator: Operator, state: Simulation) -> Outcome:
    for item in state.missing:
        if item.index == operator.index:
            return item
    if operator.index in state.skipped:
        return Missing(operator.index, operator.op, "it waits for a variable that cannot be simulated")
    return tuple(state.values[i] for i in operator.outputs)


def tally(pairs: Sequence[tuple[Array, Array]]) -> tuple[int, int]:
    """Elements, and elements that differ; what depends on no input is there once for all samples.

    Shapes: both (samples, …), or ours (1, …). A pair of two sizes differs in all elements of theirs, never in more.
    """
    spread = [(_as_shown(mine, theirs), theirs) for mine, theirs in pairs]
    return sum(theirs.size for _, theirs in spread), sum(
        min(theirs.size, differing(mine, theirs)) for mine, theirs in spread
    )


def _as_shown(mine: Array, theirs: Array) -> Array:
    """Ours in their shape, where that is another one of as many elements: TFLM believes the file."""
    if mine[:1].size != theirs[:1].size or len(mine) not in (1, len(theirs)):
        return mine
    return np.broadcast_to(mine.reshape(len(mine), *theirs.shape[1:]), theirs.shape)
