"""Which engine a file needs, and its traces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from quantdiff.api.settings import Settings
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.progress import Progress
from quantdiff.references.keras.model import KerasModel, is_keras, load_keras
from quantdiff.references.keras.run import trace_keras
from quantdiff.run.child import RuntimeProcess
from quantdiff.run.tflite import trace_tflite
from quantdiff.trace import Trace

Source = str | Path | KerasModel | Model
"""A model by its path, or one that is open."""


def is_tflite(source: Source) -> bool:
    """Whether this is a model for TFLite; raises ``BadModel`` where there is no such file."""
    if isinstance(source, KerasModel | Model):
        return isinstance(source, Model)
    path = Path(source)
    if not path.exists():
        raise BadModel(f"{path}: no such model; give a .keras, .h5 or .tflite file or a SavedModel folder")
    return not is_keras(path)


def open_model(source: Source, settings: Settings) -> KerasModel | Model:
    """The model, whichever kind it is, opened where it is a path; raises ``BadModel``."""
    if isinstance(source, KerasModel | Model):
        return source
    path = Path(source)
    return load_tflite(path) if is_tflite(path) else load_keras(path, allow_lambda=settings.allow_lambda)


def name_of(source: Source) -> str:
    """The path of a model, or the name of one that has none."""
    if isinstance(source, Model):
        return str(source.path)
    return source.name if isinstance(source, KerasModel) else str(source)


def trace_one(
    model: KerasModel | Model, batch: Batch, progress: Progress, process: RuntimeProcess | None = None
) -> Trace:
    """What the model gives for ``batch``: a Keras model in this process, a TFLite model in ``process``."""
    if isinstance(model, KerasModel):
        return trace_keras(model, batch, partial(_tell, progress, model.kind, len(batch)))
    assert process is not None
    return trace_tflite(model, batch, process, partial(_tell, progress, process.runtime, len(batch)))


def trace_first(
    model: KerasModel | Model, batch: Batch, processes: Sequence[RuntimeProcess], progress: Progress
) -> tuple[Trace, tuple[Failure, ...]]:
    """A trace from the first runtime that works, and the reasons of those before it."""
    failures: list[Failure] = []
    for process in processes[:-1]:
        try:
            return trace_one(model, batch, progress, process), tuple(failures)
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return trace_one(model, batch, progress, processes[-1] if processes else None), tuple(failures)


def trace_everywhere(
    model: KerasModel | Model, batch: Batch, processes: Sequence[RuntimeProcess], progress: Progress
) -> tuple[tuple[Trace, ...], tuple[Failure, ...]]:
    """A trace for every runtime that works, and the reason for every one that does not."""
    if isinstance(model, KerasModel):
        return (trace_one(model, batch, progress),), ()
    traces, failures = [], []
    for process in processes:
        try:
            traces.append(trace_one(model, batch, progress, process))
        except RuntimeFailed as error:
            failures.append(Failure(process.runtime, str(error)))
    return tuple(traces), tuple(failures)


def _tell(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)
