"""What choices would do, measured: the file's graph with them, in floats between its grids, on a real runtime."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.compare.comparison import Comparison, count, settle
from quantdiff.compare.own_metric import Metric, own_scores
from quantdiff.graph import Model
from quantdiff.ladder.advice.choices import Choice, made, rewritten
from quantdiff.ladder.advice.fake_quantized import fake_quantized
from quantdiff.ladder.advice.observed import observed_tensors
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.inner_tensors import Reading, read_tensors
from quantdiff.run.runner import Runner
from quantdiff.run.tflite import trace_tflite
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class Bench:
    """A pair and its data. ``reference`` and ``candidate`` are what both gave; ``folder`` holds files for a while.

    What is tried runs in ``trials``, what is measured in ``process``. ``float_file``: the reference is a ``.tflite``,
    whose names tools know. ``ends``: inputs and outputs are in float whatever is chosen.
    """

    switches: Switches
    content: bytes
    batch: Batch
    reference: Trace
    candidate: Trace
    process: Runner
    trials: Runner
    tolerance: float
    metric: Metric | None
    folder: Path
    float_file: bool = False
    ends: frozenset[int] = frozenset()

    def compared(self, trace: Trace) -> Comparison:
        """Some outputs beside the reference's; integers are those of the file's grid."""
        counts = count(self.reference, trace, self.tolerance, self.candidate)
        (own,) = own_scores(self.metric, self.reference, [trace], self.batch.labels)
        return settle(replace(counts, own=own))

    def of(self, choices: Sequence[Choice]) -> Comparison:
        """The outputs with some choices made, beside the reference's."""
        content = fake_quantized(self.content, made(self.switches, choices, self.ends))
        trace = trace_tflite(self.written(content), self.batch, self.trials)
        return self.compared(replace(trace, engine="predicted"))

    def measured(self, content: bytes) -> Comparison:
        """A file's own outputs, beside the reference's."""
        return self.compared(trace_tflite(self.written(content), self.batch, self.process))

    def written(self, content: bytes) -> Model:
        """A file as a model; the next one takes its place."""
        path = self.folder / "tried.tflite"
        path.write_bytes(content)
        return load_tflite(path)

    def readings(self) -> Generator[Reading, None, None]:
        """The file's graph in the reference's arithmetic, slice after slice of the data."""
        content = fake_quantized(self.content, rewritten(self.switches))
        made = set(observed_tensors(self.switches).values()) - set(self.switches.file.graph.inputs)
        return read_tensors(self.written(content), sorted(made), self.batch, self.trials, alone=False)


def noise(comparison: Comparison) -> float:
    """The power of the error as a part of the reference's: what choices take away adds up, roughly."""
    sqnr = comparison.figures.sqnr_db
    return math.inf if sqnr == -math.inf else 10 ** (-sqnr / 10)
