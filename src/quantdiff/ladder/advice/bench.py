"""What changes would do, measured: the file's graph with them, on a real runtime."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from quantdiff.compare.comparison import Comparison, settle
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.ladder.advice.choices import Floats, Seen, observe, observed_tensors
from quantdiff.ladder.advice.planned import groups_of, planned
from quantdiff.ladder.advice.plans import Choice, Counted, Plan, Planned, Rows, Tries, as_model, made, rewritten
from quantdiff.ladder.switches import Switches
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inner_tensors import read_tensors
from quantdiff.run.inputs import reaches

T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """What is asked of every sample, as a value that can travel; answers add up."""

    def answer(self, rows: Rows) -> T_co:
        """What some of the samples say."""


@dataclass(frozen=True, slots=True)
class Now:
    """The file as it is, and whether the data fit it."""

    def answer(self, rows: Rows) -> Counted:
        """Beside the reference."""
        return Counted((rows.counted(rows.candidate),), reaches(rows.model, rows.batch))


@dataclass(frozen=True, slots=True)
class Instead:
    """Another file in its place, on its runtime."""

    content: bytes = field(repr=False)

    def answer(self, rows: Rows) -> Counted:
        """Beside the reference."""
        return Counted((rows.counted(trace_tflite(as_model(self.content), rows.batch, rows.own)),))


@dataclass(frozen=True, slots=True)
class Observed:
    """By tensor of the file what was seen there."""

    seen: Mapping[int, Seen]

    def __add__(self, other: Observed) -> Observed:
        return Observed({tensor: seen + other.seen[tensor] for tensor, seen in self.seen.items()})


@dataclass(frozen=True, slots=True)
class Looks:
    """The file's graph in the reference's arithmetic: what is met at each tensor, of ``samples`` in all."""

    planned: Planned
    wanted: Mapping[int, Floats]
    inputs: tuple[int, ...]
    samples: int

    def answer(self, rows: Rows) -> Observed:
        """Slice after slice of the samples."""
        made = {floats.tensor for floats in self.wanted.values()} - set(self.inputs)
        fed = rows.fed(self.planned.inputs)
        readings = read_tensors(as_model(self.planned.content), sorted(made), fed, rows.trials, alone=False)
        return Observed(observe(self.wanted, self.inputs, readings, (rows.first, self.samples)))


@dataclass(frozen=True, slots=True)
class Bench:
    """A pair of which anything can be asked over all ``samples``, wherever these are; ``now`` is the file as it is.

    ``ends``: inputs and outputs (``plans.INPUT``, ``OUTPUT``) that are in float whatever is chosen.
    """

    switches: Switches
    content: bytes
    samples: int
    now: Comparison
    ask: Callable[[Task[Any]], Any]
    ends: AbstractSet[int] = frozenset()

    def measured(self, content: bytes) -> Comparison:
        """Another file in the place of this one, on its runtime, beside the reference."""
        (counts,) = self.ask(Instead(content)).each
        return settle(counts)

    def each(self, sets: Sequence[Sequence[Choice]]) -> Iterator[Comparison | None]:
        """For each set of choices the outputs with it, beside the reference's; None where there are none to count.

        They may be undefined, or the runtime may refuse the file, or end over it.

        Raises:
            BadModel, RuntimeFailed: the file cannot be written otherwise even with no choice made, or does not run so.
        """
        plans = [made(self.switches, choices, self.ends) for choices in sets]
        for some in groups_of(plans):
            yield from self._settled(some, must=not any(sets))

    def _settled(self, plans: Sequence[Plan], *, must: bool) -> Iterator[Comparison | None]:
        """What the plans of one file say; where it does not run, each has a file of its own."""
        try:
            found = self.ask(Tries(planned(self.content, plans))).each
        except (BadModel, RuntimeFailed):
            if must:
                raise
            found = None
        if found is not None:
            yield from (None if counts is None else settle(counts) for counts in found)
        elif len(plans) == 1:
            yield None
        else:
            for plan in plans:
                yield from self._settled((plan,), must=False)

    def seen(self) -> Mapping[int, Seen]:
        """What the reference's values reach at every tensor of the file."""
        exact, inputs = planned(self.content, [rewritten(self.switches)]), tuple(self.switches.file.graph.inputs)
        seen: Mapping[int, Seen] = self.ask(Looks(exact, observed_tensors(self.switches), inputs, self.samples)).seen
        return seen


def noise(comparison: Comparison) -> float:
    """The power of the error as a part of the reference's: what choices take away adds up, roughly."""
    sqnr = comparison.figures.sqnr_db
    return math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)
