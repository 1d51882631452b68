"""What changes would do, measured: the file's graph with them, on a real runtime."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quantdiff.compare.comparison import Comparison, count, settle
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.graph import Model
from quantdiff.ladder.advice.choices import Choice, Plan, made, rewritten
from quantdiff.ladder.advice.observed import observed_tensors
from quantdiff.ladder.advice.planned import planned
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.run.inner_tensors import Reading, read_tensors
from quantdiff.run.runner import Runner
from quantdiff.run.tflite import bound_inputs, trace_tflite
from quantdiff.trace import Trace

DEFAULT, HERE = "xnnpack", ("xnnpack", "builtin", "reference")
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

    def beside(self, reference: Trace) -> Comparison:
        """The file's outputs beside those of another reference."""
        counts = count(reference, self.candidate, self.tolerance, self.candidate)
        (own,) = own_scores(self.metric, reference, [self.candidate], self.batch.labels)
        return settle(replace(counts, own=own))

    def each(self, sets: Sequence[Sequence[Choice]]) -> Iterator[Comparison | None]:
        """For each set of choices the outputs with it, beside the reference's; None where they are undefined.

        Behind a tensor that is rounded to 0 there may be a root or a quotient.
        """
        plans = [made(self.switches, choices, self.ends) for choices in sets]
        return (self.compared(trace) if defined(trace) else None for trace in self.traces(plans))

    def traces(self, plans: Sequence[Plan]) -> Iterator[Trace]:
        """For each plan the outputs."""
        return traces_of(plans, self.content, self.batch, self.candidate, self.trials)

    def readings(self) -> Generator[Reading, None, None]:
        """The file's graph in the reference's arithmetic, slice after slice of the data."""
        found = planned(self.content, [rewritten(self.switches)])
        made = set(observed_tensors(self.switches).values()) - set(self.switches.file.graph.inputs)
        fed = _fed(self.switches.model, self.batch, found.inputs)
        return read_tensors(as_model(found.content), sorted(made), fed, self.trials, alone=False)


def traces_of(plans: Sequence[Plan], content: bytes, batch: Batch, candidate: Trace, trials: Runner) -> Iterator[Trace]:
    """For each plan the outputs, named as the ``candidate``'s; several in one file share what comes before a change."""
    held = sum(values.size for values in plans[0].switches.file.constants.values()) * 4 if plans else 0
    size = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(1, held)))
    for start in range(0, len(plans), size):
        written = planned(content, plans[start : start + size])
        fed = _fed(plans[0].switches.model, batch, written.inputs)
        found = trace_tflite(as_model(written.content), fed, trials)
        for each in written.outputs:
            outputs = zip((found.outputs[k] for k in each), candidate.outputs, strict=True)
            yield Trace("predicted", tuple(replace(value, name=own.name) for value, own in outputs), found.notes)


def _fed(model: Model, batch: Batch, inputs: Sequence[int]) -> Batch:
    """The data of a file for one whose inputs are these of the file's."""
    arrays = bound_inputs(model, batch)
    return Batch({f"{place}": arrays[i] for place, i in enumerate(inputs)}, None, batch.source)


def tried_on(runtime: str) -> str:
    """The runtime on which changes to a file are tried: its own, where that is one of LiteRT's on this machine."""
    return runtime if runtime in HERE else DEFAULT


def defined(trace: Trace) -> bool:
    """Whether all outputs are numbers."""
    return all(np.isfinite(value.array).all() for value in trace.outputs)


def as_model(content: bytes) -> Model:
    """What was written here, as a model."""
    return replace(read_model(memoryview(content), Path("tried.tflite")), content=content)


def noise(comparison: Comparison) -> float:
    """The power of the error as a part of the reference's: what choices take away adds up, roughly."""
    sqnr = comparison.figures.sqnr_db
    return math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)
