"""The gap between a Keras model in training and the ``.tflite`` file that it would become now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from math import nan
from typing import Any

from quantdiff.compare.outcome import hold_together
from quantdiff.experiment.zoo import CALIBRATED_ON, Calibration, convert
from quantdiff.files import scratch
from quantdiff.load.data import Batch, bind
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.references.keras.model import KerasModel, describe, trace_keras
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import started


@dataclass(frozen=True, slots=True)
class Gap:
    """One measurement: the share of outputs that differ as integers, by how many steps at most, accuracy of both.

    None where a figure has no meaning: no integer grid at the output, no labels.
    """

    differing: float | None = None
    max_steps: int | None = None
    accuracy_keras: float | None = None
    accuracy_tflite: float | None = None

    def logs(self, *, labels: bool) -> dict[str, float]:
        """The figures by the names under which Keras logs them, NaN for None; accuracies only with labels."""
        figures: Mapping[str, float | None] = {
            "parity_differing": self.differing,
            "parity_max_steps": self.max_steps,
            **({"parity_accuracy_keras": self.accuracy_keras} if labels else {}),
            **({"parity_accuracy_tflite": self.accuracy_tflite} if labels else {}),
        }
        return {name: nan if value is None else float(value) for name, value in figures.items()}


def measure_gap(model: Any, batch: Batch, calibration: Batch, runtime: str) -> Gap:
    """Convert the model as ``run --quantize`` does and compare both on ``batch``, on the runtime named.

    The model is as it was afterwards: conversion only reads its weights.

    Raises:
        QuantdiffError: the model cannot be converted or run, or the data do not fit it.
    """
    keras = describe(model, str(model.name))
    with started(runtime) as process, scratch() as folder:
        file = folder / "model.tflite"
        file.write_bytes(_converted(keras, calibration))
        traces = trace_keras(keras, batch), trace_tflite(load_tflite(file), batch, process)
    outcome = hold_together(traces[:1], traces[1:], batch.labels)
    (comparison,), (ours, theirs) = outcome.comparisons, (trace.engine for trace in traces)
    figures = comparison.figures
    return Gap(
        None if figures.differing is None else figures.differing / figures.count,
        figures.max_steps,
        outcome.accuracy.get(ours),
        outcome.accuracy.get(theirs),
    )


def settled(shares: Sequence[float | None], patience: int, min_delta: float) -> bool:
    """Whether the last ``patience + 1`` measurements lie within ``min_delta`` of each other."""
    last = shares[-patience - 1 :]
    known = [share for share in last if share is not None]
    return len(known) == patience + 1 and max(known) - min(known) <= min_delta


def _converted(keras: KerasModel, calibration: Batch) -> bytes:
    bound = bind(calibration, keras.inputs, keras.name)
    arrays = [array.astype(slot.dtype) for array, slot in zip(bound, keras.inputs, strict=True)]
    with _seeds_kept(keras.model), redirect_stdout(StringIO()):  # Keras 3 prints where it put what it exported
        return convert(keras.model, arrays[0], feed=lambda _: _one_by_one(arrays))


def _one_by_one(arrays: Sequence[Array]) -> Calibration:
    """As ``zoo.one_by_one``, for any number of inputs."""

    def representative() -> Iterator[list[Array]]:
        for i in range(min(CALIBRATED_ON, len(arrays[0]))):
            yield [array[i : i + 1] for array in arrays]

    return representative


@contextmanager
def _seeds_kept(model: Any) -> Iterator[None]:
    """Give random layers their counters back after the block.

    Conversion traces the model, and a layer with a seed (``Dropout(seed=1)``) counts that as a draw
    (``RandomGenerator.make_legacy_seed`` in tf_keras/src/backend.py): eager training would go on with other numbers.
    """
    modules = (model, *getattr(model, "submodules", ()))  # Keras 3 counts in variables, which inference leaves alone
    held: list[Any] = [getattr(each, "_random_generator", None) for each in modules]
    generators = [each for each in held if hasattr(each, "_seed")]
    seeds = [generator._seed for generator in generators]
    try:
        yield
    finally:
        for generator, seed in zip(generators, seeds, strict=True):
            generator._seed = seed
