"""What the first slice of the data tells of a pair, and what is added up while the others pass by.

What the file's graph with the reference's constants computes just as the lowered reference does (the same operators,
with the same options, on the same constants and inputs, and nothing is rounded), the rung ``rewritten`` takes from
``real``. ``Few`` are the samples on which cures are predicted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.compare.outcome import compare
from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Graph, Operator
from quantdiff.ladder.account import (
    Account,
    LayerAccount,
    OutputGrids,
    Question,
    ends_of_file,
    on_grid,
    order_from_reading,
    order_of_outputs,
)
from quantdiff.ladder.attribution import Attribution, named
from quantdiff.ladder.explanation import Advice, Quality, Signed
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.lowered import RECODES
from quantdiff.ladder.matching import check_related
from quantdiff.ladder.real_graph import RealGraph, Values
from quantdiff.ladder.rungs import RealRungs, in_slices, real_inputs
from quantdiff.ladder.slices import by_run
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, Trace, is_float
from quantdiff.run.inner_tensors import Reading
from quantdiff.sim.device import Rules

BETTER_DB = 0.02
"""Of stored outputs: what counts as better."""


@dataclass(frozen=True, slots=True)
class Few:
    """The samples on which cures are predicted: what the reference and the file gave, and under which ``rules``.

    ``bare``: the outputs of the reference's graph without its own output grids, in the file's order. Shapes: (samples,
    elements).
    """

    rows: Batch
    reference: Trace
    candidate: Trace
    bare: Sequence[Array]
    rules: Rules | None


def rms_of(before: Sequence[Array], bare: Sequence[Array], grids: OutputGrids) -> float:
    """Of the error before the output's own grid, in steps."""
    runs = len(bare[0])
    error = beside(before, grids.units, runs) - beside(bare, grids.units, runs)
    return math.sqrt(float(np.square(error).mean()))


def stored_on(values: Array, grid: Grid | None) -> Array:
    """Integers of an output's grid; floats stay what they are where it has none, but counts in steps."""
    return values if grid is None or grid.is_lent else on_grid(values, grid)


def quality_of(stored: Sequence[Array], few: Few, grids: OutputGrids) -> Quality:
    """Outputs as integers of their grids, floats where there is none, by the formulas of ``diff``.

    What differs is another integer; of floats without a grid what is farther than the tolerance.
    """
    outputs = tuple(
        replace(
            own,
            array=y.reshape(own.array.shape),
            quant=grid.params if grid and y.dtype.kind in "iu" else None,
            grid=grid,
        )
        for own, y, grid in zip(few.candidate.outputs, stored, grids.grids, strict=True)
    )
    found = compare(few.reference, replace(few.candidate, outputs=outputs), grids.tolerance)
    each, whole = [output.figures for output in found.outputs], found.figures
    differing = sum(round(f.not_close * f.count) if f.differing is None else f.differing for f in each)
    return Quality(differing, whole.sqnr_db, whole.top1_agreement)


def advice_of(mechanism: str, change: str, now: Quality, then: Quality, few: Few) -> Advice:
    """What a change would do, on these samples."""
    return Advice(mechanism, change, now.differing, then.differing, "", len(few.rows), now, then)


def name_of(switches: Switches, move: Move) -> str:
    """``CONV_2D 3 (head)``."""
    operator, op, layer, tensor, _ = named(switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"


@dataclass(slots=True)
class Sums:
    """What is added up while the data pass by; nothing grows with them.

    ``apart``: by rung the largest distance from the reference in steps, and how many integers are others. ``few``: the
    first samples, on which cures are predicted. ``outside``: the reference's outputs beyond the file's range, of
    all, and the farthest in steps.
    """

    outputs: Account
    layers: dict[int, LayerAccount]
    attribution: Attribution | None
    apart: dict[str, tuple[float, int]]
    outside: tuple[int, int, float] = (0, 0, 0.0)
    closed: bool = True
    changed: int = 0
    samples: int = 0
    missing: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    departs: str = ""
    few: Few | None = None
    signed: tuple[Signed, ...] = ()

    def __add__(self, other: Sums) -> Sums:
        """With those of the samples behind; what the first samples tell is theirs."""
        beyond, count, farthest = self.outside
        layers = {tensor: account + other.layers[tensor] for tensor, account in self.layers.items()}
        apart = {
            mechanism: (max(far, other.apart[mechanism][0]), flips + other.apart[mechanism][1])
            for mechanism, (far, flips) in self.apart.items()
        }
        return Sums(
            self.outputs + other.outputs,
            layers or other.layers,
            self.attribution or other.attribution,
            apart or other.apart,
            (beyond + other.outside[0], count + other.outside[1], max(farthest, other.outside[2])),
            self.closed and other.closed,
            self.changed + other.changed,
            self.samples + other.samples,
            self.missing or other.missing,
            self.borrowed or other.borrowed,
            self.departs or other.departs,
            self.few or other.few,
            self.signed or other.signed,
        )


@dataclass(frozen=True, slots=True)
class Ladder:
    """What does not change from slice to slice.

    ``switches`` None: the pair cannot be computed in real arithmetic; ``why`` says which operator.
    ``lowered_order``: for each output of the file the place of the lowered reference's.
    """

    question: Question
    grids: OutputGrids
    switches: Switches | None
    lowered_order: tuple[int, ...] = ()
    why: str = ""

    def attribution(self) -> Attribution | None:
        """Where the shares of the first samples are added up; None where there is no real arithmetic."""
        return None if self.switches is None else Attribution(self.switches, self.grids.units)


def set_up(question: Question, reading: Reading, own: Trace) -> Ladder:
    """What the first slice tells: which output is which, and whether both graphs can be computed."""
    order = order_from_reading(own, question.model, reading)
    grids = ends_of_file(question.model.main, order, question.tolerance)
    if question.lowering is None:
        return Ladder(question, grids, None, (), question.why or "the reference has no graph of operators")
    try:
        found = with_alike(replace(switches(question.model, question.lowering), names=question.names))
        few = reading.rows.part(slice(2))
        values = found.file.run(real_inputs(question.model, few), found.rewritten)
        found = replace(found, shapes={i: v.shape[1:] for i, v in values.items()})
        low = _lowered_order(found, few, question, order)
    except UnsupportedOp as error:
        return Ladder(question, grids, None, (), str(error))
    check_related(found)
    return Ladder(question, grids, found, low)


def _lowered_order(found: Switches, rows: Batch, question: Question, order: Sequence[int]) -> tuple[int, ...]:
    """For each output of the file the lowered reference's: by way of the reference's own."""
    real = found.reference.real
    values = real.run(real_inputs(found.lowering, rows), found.lowered_setting())
    outputs = [values[i].astype(np.float32) for i in real.graph.outputs]
    places = order_of_outputs(question.trace(rows), found.lowering, outputs, "the lowered reference")
    return tuple(places.index(k) for k in order)


def with_alike(switches: Switches) -> Switches:
    """The same, and which tensors of the file hold the very same values as their partners.

    A stream shares nothing: its values hang on the samples before.
    """
    file, reference, setting = switches.file, switches.reference.real, switches.rewritten
    if file.streams or reference.streams:
        return switches
    numbers: dict[Hashable, int] = {}
    given = {i: numbers.setdefault(("input", i), len(numbers)) for i in reference.graph.inputs}
    partners = {i: switches.partners.get(i, -1) for i in file.graph.inputs}
    inputs = {i: given[partner] for i, partner in partners.items() if partner in given}
    theirs = _numbered(reference, given, {}, reference.varying, numbers)
    ours = _numbered(file, inputs, setting.constants, setting.own, numbers)
    pairs = [(i, j) for i in ours for j in {switches.partners.get(i, -1), *reference.graph.outputs}]
    return replace(switches, alike=frozenset(pair for pair in pairs if theirs.get(pair[1]) == ours[pair[0]]))


def _numbered(
    real: RealGraph, inputs: Mapping[int, int], constants: Values, bounded: Container[int], numbers: dict[Hashable, int]
) -> dict[int, int]:
    """By tensor the number of what is computed there, equal for equal computations; not of what a grid bounds."""
    found = {i: number for i, number in inputs.items() if i not in bounded}
    for operator in real.operators:
        read = [_read(i, real, constants, found, numbers) for i in operator.inputs]
        if not read or None in read:
            continue
        for place, tensor in enumerate(operator.outputs):
            if tensor in bounded:
                continue
            formula = (*_stated(real.graph, operator, tensor), place, *read)
            restated = read[0] if operator.op in RECODES else None
            found[tensor] = numbers.setdefault(formula, len(numbers)) if restated is None else restated
    return found


def _read(
    tensor: int, real: RealGraph, constants: Values, found: Mapping[int, int], numbers: dict[Hashable, int]
) -> int | None:
    """The number of what an operator reads; −1 where it leaves an input out."""
    if tensor < 0 or tensor in found:
        return found.get(tensor, -1)
    constant = constants.get(tensor, real.constants.get(tensor))
    return None if constant is None else numbers.setdefault(_bits(constant), len(numbers))


def _stated(graph: Graph, operator: Operator, tensor: int) -> tuple[Hashable, ...]:
    """What the file says of an operator, but for how its integers are to be read."""
    made = graph.tensors[tensor]
    kind = "real" if is_float(made.dtype) or made.grid is not None else made.dtype
    return operator.op, repr(sorted(operator.options.items())), kind, made.shape


def _bits(constant: Array) -> Hashable:
    whole = np.ascontiguousarray(constant).reshape(-1)
    return constant.shape, whole.dtype.str, hashlib.blake2b(whole.view(np.uint8).data if whole.size else b"").digest()


def reference_with(
    switches: Switches, rows: Batch, reference: Trace, order: Sequence[int], held: tuple[Sequence[int], Sequence[int]]
) -> tuple[Trace, list[Array]]:
    """The reference's outputs if it had some biases and grids as the file has them; and before their own grids.

    What changes is counted in the account's arithmetic, and added to what the reference's framework gave.

    Args:
        switches: the pair.
        rows: the data.
        reference: what it gave for them.
        order: for each output of the file the place of the reference's.
        held: biases and tensors of the file. Shapes of what comes back: (runs, elements).
    """
    (biases, tensors), outputs = held, switches.file.graph.outputs
    own = {**switches.own, **{i: switches.file.grids[i] for i in tensors}}
    settled = replace(switches, own=own, matches={i: m for i, m in switches.matches.items() if i not in biases})
    inputs = real_inputs(switches.model, rows)
    was, now = (
        RealRungs({"": in_slices(each.file, inputs, each.rewritten, outputs)}).as_given(each, "")
        for each in (switches, settled)
    )
    given = list(reference.outputs)
    for place, before, after in zip(order, was, now, strict=True):
        value = given[place]
        moved = value.real + (after - before).reshape(value.array.shape)
        given[place] = replace(value, array=np.asarray(moved, np.float32), quant=None)
    bare = in_slices(settled.file, inputs, settled.rewritten, outputs)
    return replace(reference, outputs=tuple(given)), [by_run(bare[i], len(inputs[0])) for i in outputs]
