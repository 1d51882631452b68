"""The pipeline, readable from top to bottom: load, run, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from quantdiff.align.alignment import align
from quantdiff.compare.comparison import TOLERANCE
from quantdiff.compare.outcome import Failure, Outcome, hold_together
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.experiment import zoo
from quantdiff.experiment.parameters import compare_parameters
from quantdiff.experiment.trial import Trial
from quantdiff.explain.observe import observe
from quantdiff.explain.params import parameters
from quantdiff.explain.quantizers import Observed, Parameters
from quantdiff.explain.sides import Sides
from quantdiff.graph import Model
from quantdiff.load.data import Batch, load_batch
from quantdiff.load.datasets import load_dataset, locate
from quantdiff.load.frameworks import frameworks
from quantdiff.load.keras import KerasModel, describe, is_keras, load_keras
from quantdiff.load.layers import read_layers
from quantdiff.load.tflite import load_tflite
from quantdiff.report.csv import header, summary_rows
from quantdiff.report.folder import add_to_summary, save_batch, save_models, staged
from quantdiff.report.json import outcome_document
from quantdiff.report.plain import json_text
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.keras import trace_keras
from quantdiff.run.tflite import check_installed, trace_tflite
from quantdiff.run.versions import versions
from quantdiff.trace import Trace

FILES = {"float": "float.keras", "qat": "qat.h5", "tflite": "model.tflite", "data": "data.npz"}
RESULTS = "results.json"


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""
    del stage, done, total


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare: on which runtimes, how close is close, how long a runtime may be silent (seconds)."""

    runtimes: tuple[str, ...] = ("xnnpack",)
    tolerance: float = TOLERANCE
    timeout: float = TIMEOUT
    allow_lambda: bool = False


DEFAULTS = Settings()


def run(trial: Trial, out: Path, settings: Settings = DEFAULTS, progress: zoo.Progress = silent) -> Outcome:
    """Train, quantize, convert and compare; all that was made is in the folder ``out``.

    Raises:
        QuantdiffError: the data set cannot be read, a step of the training fails, or ``out`` cannot be written.
            A runtime that fails is a ``Failure`` in the result.
    """
    locate(trial.data)
    with _processes(settings) as processes, ThreadPoolExecutor(1) as other, staged(out) as folder:
        reading = other.submit(load_dataset, trial.data)  # while TensorFlow is imported
        frameworks()
        data = reading.result()
        models = [zoo.train(trial, data, progress)]
        models.append(zoo.quantize_aware(models[0], data, progress))
        progress("convert", 0, 1)
        written = zoo.convert(models[1], data.x_train if trial.quantize else None)
        progress("convert", 1, 1)
        save_models(folder, dict(zip((FILES["float"], FILES["qat"]), models, strict=True)))
        (folder / FILES["tflite"]).write_bytes(written)
        save_batch(folder / FILES["data"], data.test)
        references = tuple(_trace_one(describe(m, trial.name), data.test, progress) for m in models)
        converted = load_tflite(folder / FILES["tflite"])
        candidates, failures = _trace_everywhere(converted, data.test, processes, progress)
        outcome = replace(
            hold_together(references, candidates, data.test.labels, settings.tolerance),
            failures=failures,
            made_by={"command": "run", **asdict(trial), "samples": len(data.test), "versions": versions()},
            artifacts={name: str(out / file) for name, file in FILES.items()},
        )
        (folder / RESULTS).write_text(json_text(outcome_document(outcome)) + "\n")
        add_to_summary(folder, out, header(), summary_rows(trial, outcome))
    return outcome


def diff(
    reference: str | Path,
    candidate: str | Path,
    data: str | Path | Batch,
    settings: Settings = DEFAULTS,
    progress: zoo.Progress = silent,
) -> Outcome:
    """Compare two models on the same data.

    A ``.tflite`` candidate runs on every runtime of ``settings``, a ``.tflite`` reference on the first of them that
    runs it.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or the reference cannot run.
            A runtime on which the candidate fails is a ``Failure`` in the result.
    """
    batch = data if isinstance(data, Batch) else load_batch(Path(data))
    kinds = [_is_tflite(Path(path)) for path in (reference, candidate)]
    with _processes(settings if any(kinds) else replace(settings, runtimes=())) as processes:
        left, right = (_open(Path(path), settings) for path in (reference, candidate))
        first, unfit = _trace_first(left, batch, processes, progress)
        candidates, failures = _trace_everywhere(right, batch, processes, progress)
    if first.engine in {trace.engine for trace in candidates}:
        first = replace(first, engine=f"reference:{first.engine}")
    return replace(
        hold_together((first,), candidates, batch.labels, settings.tolerance),
        failures=tuple(dict.fromkeys(unfit + failures)),
        made_by={"command": "diff", "samples": len(batch), "versions": versions()},
        artifacts={"reference": str(reference), "candidate": str(candidate), "data": batch.source},
    )


def params(
    reference: str | Path | None,
    model: str | Path,
    data: str | Path | Batch | None = None,
    settings: Settings = DEFAULTS,
) -> Parameters:
    """Min, max, scale and zero point of every quantizer on both sides; observed values where there is data.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or cannot run.
    """
    batch = load_batch(Path(data)) if isinstance(data, str | Path) else data
    converted = load_tflite(model)
    keras = None if reference is None else _open_reference(Path(reference), settings)
    layers = () if keras is None else read_layers(keras)
    with _processes(settings if batch is not None else replace(settings, runtimes=())) as processes:
        seen = Observed() if batch is None else observe(keras, layers, converted, batch, processes[0])
    made_by = {"command": "params", "samples": 0 if batch is None else len(batch), "versions": versions()}
    artifacts = {"reference": reference, "model": model, "data": batch.source if batch else None}
    return replace(
        parameters(Sides(layers, converted.main, align(layers, converted), seen)),
        made_by=made_by,
        artifacts={name: str(value) for name, value in artifacts.items() if value is not None},
    )


def params_experiment(trial: Trial, settings: Settings = DEFAULTS, progress: zoo.Progress = silent) -> Parameters:
    """Train a model, calibrate QAT and TFLite on the whole training set, and compare their parameters.

    Raises:
        QuantdiffError: the data set cannot be read, a step of the training fails, or a model does not run.
    """
    data = load_dataset(trial.data)
    with _processes(settings) as processes:
        answer = compare_parameters(trial, data, processes[0], progress)
    return replace(answer, made_by={**answer.made_by, "versions": versions()})


@contextmanager
def _processes(settings: Settings) -> Iterator[list[RuntimeProcess]]:
    """A child for every runtime, started now so that it is ready when the models are."""
    check_installed(settings.runtimes)
    with ExitStack() as stack:
        yield [stack.enter_context(RuntimeProcess(r, timeout=settings.timeout)) for r in settings.runtimes]


def _open_reference(path: Path, settings: Settings) -> KerasModel:
    if _is_tflite(path):
        raise BadModel(
            f"{path}: params wants the Keras model as reference: a .keras or .h5 file or a SavedModel folder"
        )
    return load_keras(path, allow_lambda=settings.allow_lambda)


def _is_tflite(path: Path) -> bool:
    if not path.exists():
        raise BadModel(f"{path}: no such model; give a .keras, .h5 or .tflite file or a SavedModel folder")
    return not is_keras(path)


def _open(path: Path, settings: Settings) -> KerasModel | Model:
    return load_tflite(path) if _is_tflite(path) else load_keras(path, allow_lambda=settings.allow_lambda)


def _trace_one(
    model: KerasModel | Model, batch: Batch, progress: zoo.Progress, process: RuntimeProcess | None = None
) -> Trace:
    if isinstance(model, KerasModel):
        return trace_keras(model, batch, partial(_tell, progress, model.kind, len(batch)))
    assert process is not None
    return trace_tflite(model, batch, process, partial(_tell, progress, process.runtime, len(batch)))


def _trace_first(
    model: KerasModel | Model, batch: Batch, processes: Sequence[RuntimeProcess], progress: zoo.Progress
) -> tuple[Trace, tuple[Failure, ...]]:
    """A trace from the first runtime that works, and the reasons of those before it."""
    failures: list[Failure] = []
    for process in processes[:-1]:
        try:
            return _trace_one(model, batch, progress, process), tuple(failures)
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return _trace_one(model, batch, progress, processes[-1] if processes else None), tuple(failures)


def _trace_everywhere(
    model: KerasModel | Model, batch: Batch, processes: Sequence[RuntimeProcess], progress: zoo.Progress
) -> tuple[tuple[Trace, ...], tuple[Failure, ...]]:
    """A trace for every runtime that works, and the reason for every one that does not."""
    if isinstance(model, KerasModel):
        return (_trace_one(model, batch, progress),), ()
    traces, failures = [], []
    for process in processes:
        try:
            traces.append(_trace_one(model, batch, progress, process))
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return tuple(traces), tuple(failures)


def _tell(progress: zoo.Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)
