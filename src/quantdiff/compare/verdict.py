"""What ``verify`` finds: a verdict for each runtime, and what each operator gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantdiff.compare.device import Diagnosis
from quantdiff.shown import Shown
from quantdiff.sim.graph.simulator import Missing


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
