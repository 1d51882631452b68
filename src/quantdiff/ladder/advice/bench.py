"""What changes would do, measured: the file's graph with them, on a real runtime."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from operator import add
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from quantdiff.compare.comparison import Comparison, Counts, count
from quantdiff.compare.outcome import settle
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.ladder.advice.choices import Choice, Plan, made, rewritten
from quantdiff.ladder.advice.observed import Floats, Seen, observe, observed_tensors
from quantdiff.ladder.advice.planned import Planned, planned
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.quant import Trace
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inner_tensors import read_tensors
from quantdiff.run.inputs import Reach, bound_inputs, reaches
from quantdiff.run.runner import Runner

DEFAULT, HERE = "xnnpack", ("xnnpack", "builtin", "reference")
AT_ONCE, BYTES_AT_ONCE = 16, 2**26
"""Plans in one file, and what their constants may take in it, of which each has its own."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of the samples, from number ``first`` on, and what both models gave for them.

    What is tried runs in ``trials``; ``own`` is the runtime of the file itself, the ``model``.
    """

    model: Model
    batch: Batch
    first: int
    reference: Trace
    candidate: Trace
    trials: Runner
    own: Runner
    tolerance: float
    metric: Metric | None = None

    def counted(self, trace: Trace) -> Counts:
        """Some outputs beside the reference's; integers are those of the file's grid."""
        counts = count(self.reference, trace, self.tolerance, self.candidate)
        (own,) = own_scores(self.metric, self.reference, [trace], self.batch.labels)
        return replace(counts, own=own)

    def beside(self, reference: Trace) -> Counts:
        """The file's outputs beside those of another reference."""
        return replace(self, reference=reference).counted(self.candidate)

    def fed(self, inputs: Sequence[int]) -> Batch:
        """The data for a file whose inputs are these of the model's."""
        arrays = bound_inputs(self.model, self.batch)
        return Batch({f"{place}": arrays[i] for place, i in enumerate(inputs)}, None, self.batch.source)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of some outputs in some of the samples; None for those that are undefined there.

    ``reaches``: how far the samples reach at each input, where that was asked.
    """

    each: tuple[Counts | None, ...]
    reaches: tuple[Reach, ...] = ()

    def __add__(self, other: Counted) -> Counted:
        both = zip(self.each, other.each, strict=True)
        each = (None if a is None or b is None else a + b for a, b in both)
        return Counted(tuple(each), tuple(map(add, self.reaches, other.reaches)))


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
class Tries:
    """Several plans in one file: they share what comes before the first change."""

    planned: Planned

    def answer(self, rows: Rows) -> Counted:
        """Each plan beside the reference; behind a tensor that is rounded to 0 there may be a root or a quotient."""
        return Counted(tuple(rows.counted(trace) if defined(trace) else None for trace in self.traces(rows)))

    def traces(self, rows: Rows) -> Iterator[Trace]:
        """For each plan the outputs."""
        found = trace_tflite(as_model(self.planned.content), rows.fed(self.planned.inputs), rows.trials)
        for each in self.planned.outputs:
            outputs = zip((found.outputs[k] for k in each), rows.candidate.outputs, strict=True)
            named = tuple(replace(value, name=own.name) for value, own in outputs)
            yield Trace("predicted", named, found.notes)


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

    ``ends``: inputs and outputs (``choices.INPUT``, ``OUTPUT``) that are in float whatever is chosen.
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
        for some in _groups(plans):
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


def files_of(plans: Sequence[Plan], content: bytes) -> Iterator[Tries]:
    """The plans, several in one file."""
    yield from (Tries(planned(content, some)) for some in _groups(plans))


def _groups(plans: Sequence[Plan]) -> Iterator[Sequence[Plan]]:
    held = sum(values.size for values in plans[0].switches.file.constants.values()) * 4 if plans else 0
    size = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(1, held)))
    yield from (plans[start : start + size] for start in range(0, len(plans), size))


def tried_on(runtime: str) -> str:
    """The runtime on which changes to a file are tried: its own, where that is one of LiteRT's on this machine."""
    return runtime if runtime in HERE else DEFAULT


def defined(trace: Trace) -> bool:
    """Whether all outputs are numbers."""
    return all(np.isfinite(value.array).all() for value in trace.outputs)


def as_model(content: bytes) -> Model:
    """What was written here, as a model."""
    return replace(read_model(memoryview(content), Path("a changed copy")), content=content)


def noise(comparison: Comparison) -> float:
    """The power of the error as a part of the reference's: what choices take away adds up, roughly."""
    sqnr = comparison.figures.sqnr_db
    return math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)
