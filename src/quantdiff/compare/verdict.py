"""What ``verify`` finds: a verdict for each runtime, and what each operator gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantdiff.compare.device import Diagnosis
from quantdiff.shown import Shown
from quantdiff.sim.graph.simulator import Missing

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
