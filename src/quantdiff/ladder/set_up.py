"""What the first slice of the data tells of a pair, and what is added up while the others pass by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.ladder.account import Account, LayerAccount
from quantdiff.ladder.alike import with_alike
from quantdiff.ladder.attribution import Attribution
from quantdiff.ladder.departure import check_related
from quantdiff.ladder.explanation import Signed
from quantdiff.ladder.few import Few
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.ladder.targets import OutputGrids, Question, ends_of_file, order_from_reading, order_of_outputs
from quantdiff.load.data import Batch
from quantdiff.run.inner_tensors import Reading
from quantdiff.trace import Trace


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
