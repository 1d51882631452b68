"""What a fault is: files, data, and a question that a real runtime answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quantdiff.compare.conditions import Condition
from quantdiff.compare.outcome import Judgement, hold_together, judge
from quantdiff.compare.verification import verify_inputs
from quantdiff.errors import BadExpression, NotComparable, QuantdiffError, RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Trace
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inputs import inputs_of
from quantdiff.run.runner import Runner, started

CRASH, DIFFERS = "crash", "differs"
MODEL, REFERENCE, INPUTS = "model.tflite", "reference.tflite", "inputs.npz"


class Fault(Protocol):
    """A question about a folder with ``model.tflite``, and ``reference.tflite`` where there is one."""

    @property
    def files(self) -> tuple[str, ...]:
        """The models that it asks for."""

    def shows(self, folder: Path, batch: Batch) -> str:
        """What shows there, ``max_steps is 7``; empty where nothing does."""

    def begin_again(self) -> None:
        """What is asked next runs in children that have run nothing else."""

    def command(self, folder: Path) -> list[str]:
        """What a person types to see it."""


class Children:
    """A child for each runtime, which many models share; what they say in the end fresh ones confirm."""

    def __init__(self, runtimes: Sequence[str], timeout: float) -> None:
        self._runtimes, self._timeout = runtimes, timeout
        self._alive: list[Runner] = []

    @contextmanager
    def taken(self) -> Iterator[list[Runner]]:
        """The children; after a failure others."""
        if not self._alive:
            self._alive = [started(name, self._timeout, reused=True) for name in self._runtimes]
        try:
            yield self._alive
        except RuntimeFailed:
            self.close()
            raise

    def close(self) -> None:
        """End them; the next ones are fresh."""
        for process in self._alive:
            process.close()
        self._alive = []


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition on the figures of ``diff``: of two files on one runtime, or of one file on two."""

    condition: Condition
    runtimes: tuple[str, ...]
    tolerance: float
    children: Children = field(compare=False)

    @property
    def files(self) -> tuple[str, ...]:
        """Both, or the one."""
        return (MODEL,) if len(self.runtimes) > 1 else (REFERENCE, MODEL)

    def traces(self, models: Sequence[Model], batch: Batch) -> list[Trace]:
        """What both sides give, of one or two files.

        Raises:
            BadData, RuntimeFailed: the data do not fit, or a runtime refuses a model.
        """
        with self.children.taken() as processes:
            pairs = zip((models[0], models[-1]), processes, strict=True)
            return [trace_tflite(model, batch, process) for model, process in pairs]

    def judged(self, traces: Sequence[Trace]) -> Judgement:
        """What the condition says of them.

        Raises:
            NotComparable, BadExpression: outputs that do not fit each other, or a metric without a value.
        """
        (comparison,) = hold_together((traces[0],), (traces[1],), None, self.tolerance).comparisons
        (judged,) = judge(comparison, (self.condition,))
        return judged

    def says(self, traces: Sequence[Trace]) -> str:
        """The metric, where the condition holds; raises as ``judged``."""
        judged = self.judged(traces)
        return judged.says if judged.different else ""

    def shows(self, folder: Path, batch: Batch) -> str:
        """The metric, where the condition holds; nothing where a runtime refuses or figures have no meaning."""
        try:
            return self.says(self.traces([load_tflite(folder / name) for name in self.files], batch))
        except (NotComparable, BadExpression, RuntimeFailed):
            return ""

    def begin_again(self) -> None:
        """End the children that ran all the parts."""
        self.children.close()

    def command(self, folder: Path) -> list[str]:
        """``quantdiff diff … --fail-on …``."""
        models = [str(folder / name) for name in (self.files[0], self.files[-1])]
        runtimes = [word for name in self.runtimes for word in ("--runtime", name)]
        data = ["--data", str(folder / INPUTS)]
        close = ["--tolerance", f"{self.tolerance:g}"] if self.condition.metric == "not_close" else []
        return ["quantdiff", "diff", *models, *data, *runtimes, *close, "--fail-on", str(self.condition)]


@dataclass(frozen=True, slots=True)
class Crash:
    """A runtime ends, or hangs, over a file."""

    runtime: str
    timeout: float
    files: tuple[str, ...] = (MODEL,)

    def shows(self, folder: Path, batch: Batch) -> str:
        """The signal, or that it hangs."""
        model = load_tflite(folder / MODEL)
        try:
            with started(self.runtime, self.timeout) as process:
                trace_tflite(model, batch, process)
        except (RuntimeCrashed, RuntimeHung) as error:
            return str(error).removeprefix(f"{self.runtime} on {MODEL} ").partition(";")[0]
        except QuantdiffError:
            return ""
        return ""

    def begin_again(self) -> None:
        """Every question has its own child."""

    def command(self, folder: Path) -> list[str]:
        """``quantdiff diff`` of the file with itself, which ends with 2; ``verify`` refuses what it cannot simulate."""
        model = str(folder / MODEL)
        return ["quantdiff", "diff", model, model, "--data", str(folder / INPUTS), "--runtime", self.runtime]


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A runtime gives something else than its simulator."""

    runtime: str
    timeout: float
    files: tuple[str, ...] = (MODEL,)

    def shows(self, folder: Path, batch: Batch) -> str:
        """How many elements differ."""
        model = load_tflite(folder / MODEL)
        verdict = verify_inputs(model, inputs_of(model, batch), [self.runtime], self.timeout)[self.runtime]
        if verdict.status != DIFFERS:
            return ""
        wrong, count = verdict.mismatches or verdict.chain_mismatches, verdict.count
        return f"{wrong:,} of {count:,} elements differ"

    def begin_again(self) -> None:
        """Every question has its own child."""

    def command(self, folder: Path) -> list[str]:
        """``quantdiff verify``."""
        data = ["--data", str(folder / INPUTS)]
        return ["quantdiff", "verify", str(folder / MODEL), *data, "--runtime", self.runtime]


Models = Mapping[str, bytes]
"""By the name of the file."""
