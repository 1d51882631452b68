"""What changes would do, measured: the file's graph with them, in floats between its grids, on a real runtime."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.compare.comparison import Comparison, count, settle
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.graph import Model
from quantdiff.ladder.advice.choices import Choice, Plan, made, rewritten
from quantdiff.ladder.advice.fake_quantized import fake_quantized
from quantdiff.ladder.advice.observed import observed_tensors
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.run.inner_tensors import Reading, read_tensors
from quantdiff.run.runner import Runner
from quantdiff.run.tflite import trace_tflite
from quantdiff.trace import Trace

AT_ONCE, BYTES_AT_ONCE = 16, 2**26
"""Plans in one file, and what their constants may take in it, of which each has its own."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A pair and its data. ``reference`` and ``candidate`` are what both gave; what is tried runs in ``trials``.

    ``ends``: inputs and outputs (``choices.INPUT``, ``OUTPUT``) that are in float whatever is chosen.
    """

    switches: Switches
    content: bytes
    batch: Batch
    reference: Trace
    candidate: Trace
    trials: Runner
    tolerance: float
    metric: Metric | None = None
    ends: AbstractSet[int] = frozenset()

    def compared(self, trace: Trace) -> Comparison:
        """Some outputs beside the reference's; integers are those of the file's grid."""
        counts = count(self.reference, trace, self.tolerance, self.candidate)
        (own,) = own_scores(self.metric, self.reference, [trace], self.batch.labels)
        return settle(replace(counts, own=own))

    def each(self, sets: Sequence[Sequence[Choice]]) -> Iterator[Comparison]:
        """For each set of choices the outputs with it, beside the reference's."""
        plans = [made(self.switches, choices, self.ends) for choices in sets]
        return map(self.compared, self.traces(plans))

    def of(self, choices: Sequence[Choice]) -> Comparison:
        """The outputs with some choices made, beside the reference's."""
        return next(self.each([choices]))

    def traces(self, plans: Sequence[Plan]) -> Iterator[Trace]:
        """For each plan the outputs, several plans in one file: they share what comes before the first change."""
        held = sum(values.size for values in self.switches.file.constants.values()) * 4
        size = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(1, held)))
        for start in range(0, len(plans), size):
            content, places = fake_quantized(self.content, plans[start : start + size])
            found = trace_tflite(as_model(content), self.batch, self.trials)
            for each in places:
                outputs = zip((found.outputs[k] for k in each), self.candidate.outputs, strict=True)
                named = tuple(replace(value, name=own.name) for value, own in outputs)
                yield Trace("predicted", named, found.notes)

    def readings(self) -> Generator[Reading, None, None]:
        """The file's graph in the reference's arithmetic, slice after slice of the data."""
        content, _ = fake_quantized(self.content, [rewritten(self.switches)])
        made = set(observed_tensors(self.switches).values()) - set(self.switches.file.graph.inputs)
        return read_tensors(as_model(content), sorted(made), self.batch, self.trials, alone=False)


def as_model(content: bytes) -> Model:
    """What was written here, as a model."""
    return replace(read_model(memoryview(content), Path("tried.tflite")), content=content)


def noise(comparison: Comparison) -> float:
    """The power of the error as a part of the reference's: what choices take away adds up, roughly."""
    sqnr = comparison.figures.sqnr_db
    return math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)
