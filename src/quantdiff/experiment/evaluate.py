"""Evaluate a trial: a pure function of its value, on whatever process it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from quantdiff.align.alignment import Alignment
from quantdiff.align.models import align_pair
from quantdiff.compare.comparison import Comparison, compare
from quantdiff.compare.outcome import Failure, accuracy
from quantdiff.compare.own_metric import OwnFigure, own_scores
from quantdiff.errors import NotComparable, QuantdiffError, RuntimeFailed
from quantdiff.experiment.conditions import data_of, file_of, source_of, trace_of
from quantdiff.experiment.study import own_metric
from quantdiff.experiment.trial import Attempt, Score, StoredRange, SweepResult, SweepTrial, Training
from quantdiff.files import scratch
from quantdiff.graph import Model
from quantdiff.ladder.advice.settled import trace_snapped
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.params import parameters
from quantdiff.parameters.quantizers import ModelPair, Observed
from quantdiff.quant import Trace
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import KerasModel, trace_keras
from quantdiff.references.keras.reference import lower, open_keras
from quantdiff.references.tflite.reference import TfliteReference, trace_tflite
from quantdiff.run.runner import Runner, started
from quantdiff.run.runtimes import versions

_one_at_a_time = threading.Lock()  # seeds belong to the process: on a cluster a worker may have several threads


class OtherVersions(QuantdiffError):
    """A worker whose packages are not those that the trial was made for."""


def attempt_all(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
    """An attempt at each of ``trials``; those of one training, one after the other, train once."""
    with _one_at_a_time:
        return tuple(map(_attempt, trials))


def _attempt(trial: SweepTrial) -> Attempt:
    try:
        return Attempt(evaluate(trial))
    except QuantdiffError as error:
        return Attempt(None, str(error))
    except Exception as error:
        return Attempt(None, " ".join(f"unexpected {type(error).__name__}: {error}".split())[:500])


def evaluate(trial: SweepTrial) -> SweepResult:
    """Train, convert and run as the trial says.

    Raises:
        QuantdiffError: the data, the model's builder, a step of the training or of the conversion fails. A runtime
            that fails is a ``Failure`` in the result.
    """
    check_versions(trial.training)
    if trial.condition == "float":
        return SweepResult((_score(trace_of(trial.training, "float"), trial),))
    with ExitStack() as stack:
        runtimes = () if trial.condition == "qat" else trial.runtimes
        processes = [stack.enter_context(started(runtime)) for runtime in runtimes]
        path = stack.enter_context(scratch()) / "model.tflite"
        source = source_of(trial.condition, trial.training)
        path.write_bytes(file_of(trial, source))
        file = load_tflite(path)
        if trial.condition == "qat":
            return _qat(trial, file)
        traces, failures = _everywhere(file, data_of(trial.training).test, processes)
        alignment = align_pair(open_keras(source), TfliteReference(file), data_of(trial.training).test)
    result = _snapped(trial, file, source, traces) if trial.condition == "qat-bias" else _tflite(trial, source, traces)
    return replace(result, ranges=tuple(_ranges(source, file, alignment)), failures=failures)


def check_versions(training: Training) -> None:
    """Refuse to answer for other versions than the trial names: on a cluster every worker has its own.

    Raises:
        OtherVersions: names what differs.
    """
    wanted, found = dict(training.versions), versions()
    names = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if names:
        pairs = ", ".join(f"{name} {found.get(name)} instead of {wanted.get(name)}" for name in names)
        raise OtherVersions(f"the worker has {pairs}; give all workers one environment")


def _qat(trial: SweepTrial, file: Model) -> SweepResult:
    """The tuned model against the baseline."""
    baseline, tuned = (trace_of(trial.training, engine) for engine in ("float", "qat"))
    return SweepResult((_score(tuned, trial),), (_compare(trial, baseline, tuned, _grid(file, tuned)),))


def _snapped(trial: SweepTrial, file: Model, source: KerasModel, traces: Sequence[Trace]) -> SweepResult:
    """The snapped model against the one as trained, and the file against the snapped model."""
    tuned = trace_of(trial.training, "qat")
    snapped = trace_snapped(lower(source), file, data_of(trial.training).test, source.outputs)
    comparisons = [_compare(trial, tuned, snapped, _grid(file, tuned))]
    comparisons += [_compare(trial, snapped, trace) for trace in traces]
    return SweepResult((_score(snapped, trial),), tuple(comparisons))


def _tflite(trial: SweepTrial, source: KerasModel, traces: Sequence[Trace]) -> SweepResult:
    """The file against the model that it was converted from; one with copied weights against the QAT model too."""
    if trial.condition == "copied-ptq":
        copied = _named("copied", trace_keras(source, data_of(trial.training).test))
        references = [copied, trace_of(trial.training, "qat")]
    else:
        references = [trace_of(trial.training, "float" if trial.condition == "ptq" else "qat")]
    comparisons = (_compare(trial, reference, trace) for reference in references for trace in traces)
    return SweepResult(tuple(_score(trace, trial) for trace in traces), tuple(comparisons))


def _everywhere(file: Model, test: Batch, processes: Sequence[Runner]) -> tuple[tuple[Trace, ...], tuple[Failure, ...]]:
    """A trace for every runtime that works, and the reason for every one that does not."""
    traces, failures = [], []
    for process in processes:
        try:
            traces.append(trace_tflite(file, test, process))
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return tuple(traces), tuple(failures)


def _compare(trial: SweepTrial, reference: Trace, candidate: Trace, grid: Trace | None = None) -> Comparison:
    """The figures; there is one output, so what is said of each output apart is left out."""
    metric = None if trial.metric is None else own_metric(trial.metric)
    (own,) = own_scores(metric, reference, [candidate], data_of(trial.training).y_test)
    figures = tuple(OwnFigure(name, ours.value, theirs.value) for name, (ours, theirs) in own.items())
    return replace(compare(reference, candidate, trial.tolerance, grid), outputs=(), notes=(), own=figures)


def _named(engine: str, trace: Trace) -> Trace:
    return replace(trace, engine=engine)


def _grid(file: Model, like: Trace) -> Trace:
    """The integer grid of the file's output, as something that ``compare`` can lend from."""
    grid = file.main.grid_before(file.main.outputs[0])
    return Trace("grid", tuple(replace(value, grid=grid) for value in like.outputs))


def _score(trace: Trace, trial: SweepTrial) -> Score:
    labels = data_of(trial.training).y_test
    (output,) = trace.outputs
    if labels.max() >= output.array.shape[-1]:
        raise NotComparable(f"labels reach {labels.max()}, the model tells {output.array.shape[-1]} classes apart")
    return Score(trace.engine, len(labels), round((1 - accuracy(output.real, labels)) * len(labels)))


def _ranges(source: KerasModel, file: Model, alignment: Alignment) -> Iterator[StoredRange]:
    """What ``params`` reads in the file, under the names that layers have before ``quantize_model``."""
    for row in parameters(ModelPair(read_layers(source), file.main, alignment, Observed())).rows:
        if row.file is not None:
            alone = len(row.file.scale) == 1
            yield StoredRange(
                layer=row.layer.removeprefix("quant_"),
                role=row.role,
                low=min(row.file.low),
                high=max(row.file.high),
                scale=row.file.scale[0] if alone else None,
                zero_point=row.file.zero_point[0] if alone else None,
            )
