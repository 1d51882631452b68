"""What ``worst`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.ladder.explanation import Explanation
from quantdiff.load.data import Batch
from quantdiff.search.bound import Bound


@dataclass(frozen=True, slots=True)
class WorstInput:
    """One input that was found, as it is alone on the runtime.

    Attributes:
        error: the largest error of its outputs, in the unit of ``WorstCase``; also what lies beyond the output's grid.
        margin: how surely the two decide otherwise, real units; below 0 where they do not, None without classes.
        begun: the sample that the search began with.
        max_steps: as ``diff`` counts it, within the output's grid; None where there is none.
        within: the largest error where the reference goes no farther than the ends of the output's grid; None where
            that was not asked.
    """

    error: float
    margin: float | None
    begun: int
    max_steps: int | None = None
    within: float | None = None

    @property
    def beyond(self) -> bool:
        """Whether the reference goes where the file's output cannot."""
        return self.max_steps is not None and self.error > self.max_steps + 1


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The inputs on which two models differ most.

    Attributes:
        reference: the engine.
        candidate: the engine.
        unit: of the errors in real units: one step of the output, or 1 where it has no grid.
        steps: whether the unit is a step.
        batch: the inputs, the largest error first.
        inputs: what each of them gives.
        known: the largest error of the samples that the search began with.
        known_margin: the largest margin of them; None without classes.
        known_within: the largest error of them within the output's grid.
        samples: how many these were.
        tried: inputs that both models were asked about.
        seconds: that it took.
        near: how far an input may be from its sample; None: anywhere in the range.
        interrupted: the best so far, not confirmed alone, not explained.
        explanation: what makes the first input's error, where that can be told.
        unexplained: why it cannot.
        bound: what no input exceeds.
        warnings: what a reader must know of the data.
        made_by: versions and the like.
    """

    reference: str
    candidate: str
    unit: float
    steps: bool
    batch: Batch
    inputs: tuple[WorstInput, ...]
    known: float
    known_margin: float | None
    samples: int
    tried: int
    seconds: float
    near: float | None = None
    interrupted: bool = False
    known_within: float = 0.0
    explanation: Explanation | None = None
    unexplained: str = ""
    bound: Bound | None = None
    warnings: tuple[str, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)

    @property
    def looseness(self) -> float | None:
        """How many times the largest error that was found the bound is; the truth lies between."""
        if self.bound is None or self.bound.error is None or not self.inputs[0].error:
            return None
        return self.bound.error / self.inputs[0].error

    @property
    def inside(self) -> WorstInput | None:
        """The input with the largest error within the output's grid, where the first one goes beyond it."""
        if not self.inputs[0].beyond:
            return None
        return max(self.inputs, key=lambda each: each.within or 0.0)

    @property
    def flip(self) -> WorstInput | None:
        """The input that decides otherwise with the largest margin, if there is one."""
        flips = [each for each in self.inputs if each.margin is not None and each.margin > 0]
        return max(flips, key=lambda each: each.margin or 0.0, default=None)
