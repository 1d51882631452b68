"""Parity: whether a candidate keeps within the limits asked for and, where it does not, where and why."""

from __future__ import annotations

from dataclasses import dataclass

from quantdiff.compare.conditions import Judgement
from quantdiff.compare.outcome import Outcome
from quantdiff.ladder.explanation import Explanation


@dataclass(frozen=True, slots=True)
class Parity:
    """An outcome, what each limit says of each comparison, and explanations where one is broken.

    ``left_out`` says in one line each why layers or explanations are not there.
    """

    outcome: Outcome
    judgements: tuple[Judgement, ...]
    explanations: tuple[Explanation, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[Judgement, ...]:
        """The limits that do not hold."""
        return tuple(judgement for judgement in self.judgements if judgement.different)
