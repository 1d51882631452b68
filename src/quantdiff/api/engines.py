"""Models that are open: each once, with every engine that can run it; how to compare them; and their traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from quantdiff.compare.comparison import TOLERANCE
from quantdiff.compare.device import Diagnosis, diagnose_device
from quantdiff.compare.outcome import Failure
from quantdiff.compare.own_metric import Metric, metric_of
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Trace, is_tolerance
from quantdiff.references.formats import Options, format_of, open_references, started_early
from quantdiff.references.hosted import HostedReference
from quantdiff.references.reference import Reference, TurnedReference
from quantdiff.references.tflite.reference import DEFAULT, TfliteReference
from quantdiff.report.text.verification import device_text
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inputs import inputs_of
from quantdiff.run.random_input import samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.runner import Progress, Runner, started
from quantdiff.run.runtimes import check_installed, check_timeout, entry_of
from quantdiff.sim.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare.

    Attributes:
        runtimes: names such as ``xnnpack`` or ``builtin@arm64`` (``run/runtimes.py``), in the order of the results.
        tolerance: how close is close: absolute, in real units of the outputs.
        timeout: seconds that a runtime may say nothing before it is ended.
        allow_lambda: whether Lambda layers may run; they hold code.
        custom_objects: a Python file with the classes that a Keras model needs; it runs.
        layouts: ``("reference", "NCHW")`` and the like, for images whose sizes and values do not tell.
        channels: whether each channel of an output has figures of its own.
        metric: ``FILE.py:function``, which runs, or a function of outputs by name (real units, samples along axis 0)
            and labels (int64, None where the data have none): gives a number, a dict of numbers, or (sum, count).
    """

    runtimes: tuple[str, ...] = ("xnnpack",)
    tolerance: float = TOLERANCE
    timeout: float = TIMEOUT
    allow_lambda: bool = False
    custom_objects: Path | None = None
    layouts: tuple[tuple[str, str], ...] = ()
    channels: bool = False
    metric: Any = None

    def __post_init__(self) -> None:
        if not is_tolerance(self.tolerance):
            raise ValueError(f"tolerance={self.tolerance}: give a distance in real units, 0 or more")
        check_timeout(self.timeout)

    @property
    def own_metric(self) -> Metric | None:
        """``metric`` as it is called; None without one.

        Raises:
            BadMetric: no such file or function, or it fails.
        """
        return None if self.metric is None else metric_of(self.metric)


DEFAULTS = Settings()
"""XNNPACK, a tolerance of 0.01, two minutes of silence."""


@contextmanager
def children(settings: Settings) -> Iterator[list[Runner]]:
    """A child for every runtime, started now so that it is ready when the models are."""
    check_installed(settings.runtimes)
    with ExitStack() as stack:
        yield [stack.enter_context(started(r, settings.timeout)) for r in settings.runtimes]


Source = Any
"""A model by its path, or one that is in memory."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model, once for each engine that can run it; ``source`` is its path, or the name of one that has none."""

    source: str
    engines: tuple[Reference, ...]

    @property
    def file(self) -> Model | None:
        """What it is as a ``.tflite``; None for other formats."""
        first = self.engines[0]
        first = first.inner if isinstance(first, TurnedReference) else first
        return first.model if isinstance(first, TfliteReference) else None

    def wanted(self, what: str) -> Model:
        """The ``.tflite``.

        Raises:
            BadModel: it is none, and ``what`` wants one.
        """
        if self.file is None:
            raise BadModel(
                f"{self.source}: {what} wants a .tflite as candidate; `quantdiff diff` compares any two models"
            )
        return self.file


@dataclass(frozen=True, slots=True)
class OpenedPair:
    """Two models that are open, and the runtimes that were started for them, and those that run the reference."""

    reference: Opened
    candidate: Opened
    processes: tuple[Runner, ...] = ()
    of_reference: tuple[Runner, ...] = ()

    @property
    def artifacts(self) -> dict[str, str]:
        """Where the models are."""
        return {"reference": self.reference.source, "candidate": self.candidate.source}


@contextmanager
def open_pair(
    reference: Source, candidate: Source, settings: Settings, batch: Batch | None = None
) -> Iterator[OpenedPair]:
    """Both models, opened once; runtimes start where one of the two needs them. ``batch`` is what they will be given.

    Raises:
        BadModel: there is no such model, or it cannot be read.
        MissingExtra: a package that a format needs is not installed.
    """
    needed = "tflite" in (format_of(reference), format_of(candidate))
    with (
        started_early(reference, candidate),
        children(settings if needed else replace(settings, runtimes=())) as processes,
        ExitStack() as opened,
    ):
        integers = [each for each in processes if entry_of(each.runtime).of_integers]
        unfit = integers if integers and _holds_floats(reference) else []
        others = [each for each in processes if not each.of_one_file and each not in unfit]
        if processes and not others and format_of(reference) == "tflite":
            others = [opened.enter_context(started(DEFAULT, settings.timeout))]
        first, second = (
            open_model(source, settings, runs, batch, opened)
            for source, runs in ((reference, others), (candidate, processes))
        )
        if second.file is not None and batch is not None and any(each.of_one_file for each in processes):
            inputs = inputs_of(second.file, batch)
            for process in processes:
                process.attend(second.file, inputs)
        yield OpenedPair(first, second, tuple(processes), tuple(others))


@contextmanager
def of_its_own(pair: OpenedPair) -> Iterator[OpenedPair | None]:
    """The pair for another thread at the same time, with runtimes of its own.

    None of what two threads cannot ask at once: a reference in this process, or a runtime that learns from one of them.
    """
    hosted = all(isinstance(engine, HostedReference) for engine in pair.reference.engines)
    if not hosted or pair.candidate.file is None or any(each.of_one_file for each in pair.processes):
        yield None
        return
    with ExitStack() as opened:
        own = {id(each): opened.enter_context(each.another()) for each in pair.processes}
        files = (each for each in pair.candidate.engines if isinstance(each, TfliteReference))
        engines = tuple(replace(each, process=own.get(id(each.process))) for each in files)
        yield replace(pair, candidate=Opened(pair.candidate.source, engines), processes=tuple(own.values()))


def _holds_floats(source: Source) -> bool:
    if format_of(source) != "tflite":
        return False
    return is_float(source if isinstance(source, Model) else load_tflite(source))


def is_float(model: Model) -> bool:
    """Whether it is a file without quantized tensors."""
    return all(tensor.quant is None for tensor in model.main.tensors)


def runtime_beside(model: Model, runtime: str) -> str:
    """What runs a reference: the candidate's runtime, but for floats where that knows integers alone."""
    return DEFAULT if entry_of(runtime).of_integers and is_float(model) else runtime


def open_model(
    source: Source,
    settings: Settings,
    processes: Sequence[Runner] = (),
    batch: Batch | None = None,
    opened: ExitStack | None = None,
) -> Opened:
    """One model, for each of the runtimes that were started; raises as ``open_pair``. ``opened`` closes it."""
    options = Options(settings.allow_lambda, settings.custom_objects, tuple(processes), batch, opened)
    return Opened(name_of(source), open_references(source, options))


def name_of(source: Source) -> str:
    """The path of a model, or the name of one that has none."""
    if isinstance(source, Model):
        return str(source.path)
    return str(source) if isinstance(source, str | Path) else str(source.name)


def trace_one(reference: Reference, batch: Batch, progress: Progress) -> Trace:
    """What the model gives for ``batch``."""
    return reference.trace(batch, partial(_tell, progress, reference.kind.removeprefix("tflite:"), len(batch)))


def trace_first(opened: Opened, batch: Batch, progress: Progress) -> tuple[Reference, Trace, tuple[Failure, ...]]:
    """The first engine that works, its trace, and the reasons of those before it."""
    failures: list[Failure] = []
    for engine in opened.engines[:-1]:
        try:
            return engine, trace_one(engine, batch, progress), tuple(failures)
        except RuntimeFailed as error:
            failures.append(failure_of(engine, error))
    last = opened.engines[-1]
    return last, trace_one(last, batch, progress), tuple(failures)


Ran = tuple[tuple[Reference, Trace], ...]


def trace_everywhere(opened: Opened, batch: Batch, progress: Progress) -> tuple[Ran, tuple[Failure, ...]]:
    """A trace for every engine that works, and the reason for every one that does not.

    Raises:
        RuntimeFailed: a model that one engine alone can run does not run there.
    """
    traces, failures = [], []
    for engine in opened.engines:
        try:
            traces.append((engine, trace_one(engine, batch, progress)))
        except RuntimeFailed as error:
            if opened.file is None:
                raise
            failures.append(failure_of(engine, error))
    return tuple(traces), tuple(failures)


def failure_of(engine: Reference, error: Exception, before: str = "") -> Failure:
    """Why an engine gave nothing."""
    return Failure(engine.kind.removeprefix("tflite:"), f"{before}{error}")


def _tell(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)


def device_notes(pair: OpenedPair, batch: Batch) -> tuple[str, ...]:
    """Of each dump the first operator that gives something else, on the first samples; ``verify`` shows all of them."""
    return tuple(_told(_diagnosed(pair, batch)))


def settle_devices(pair: OpenedPair, batch: Batch) -> tuple[str, ...]:
    """The same, and what an account needs: a dump that does not say whose rules it obeys obeys those that come nearest.

    Inner tensors that it shows wrongly, where the device had the right values, are left out of it.
    """
    found = list(_diagnosed(pair, batch))
    notes = list(_told(found))
    for device, told in found:
        device.leave_out([each.tensor for each in told.findings if each.wrong and each.passed_on is False])
        if device.rules is None and isinstance(told.nearest, Runtime):
            device.obey(told.nearest)
            notes.append(f"{device.runtime}: taken to obey the rules that come nearest, {told.nearest.value}")
    return tuple(notes)


def _diagnosed(pair: OpenedPair, batch: Batch) -> Iterator[tuple[RecordedRuntime, Diagnosis]]:
    model = pair.candidate.file
    dumps = [each for each in pair.processes if isinstance(each, RecordedRuntime)]
    if model is not None and dumps:
        inputs = [array[: samples_for(model.main)] for array in inputs_of(model, batch)]
        yield from ((each, diagnose_device(model, inputs, each)) for each in dumps)


def _told(found: Iterable[tuple[RecordedRuntime, Diagnosis]]) -> Iterator[str]:
    return (f"{device.runtime}: {line}" for device, told in found for line in device_text(told))
