"""A Keras callback that watches the gap between the model in training and the ``.tflite`` that it would become."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from math import nan
from pathlib import Path
from typing import Any

from quantdiff.compare.outcome import hold_together
from quantdiff.errors import reason_of
from quantdiff.experiment.zoo import CALIBRATED_ON, Calibration, convert
from quantdiff.files import scratch
from quantdiff.load.data import Batch, as_batch, bind
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.model import KerasModel, describe, slots_of, trace_keras
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import started
from quantdiff.run.runtimes import ALL, RUNTIMES, check_installed, may_be_one

DATA_CLASS_SCALAR = 1  # in tensorflow/core/framework/summary.proto


class ParityCallback(frameworks().keras.callbacks.Callback):  # type: ignore[misc]
    """Convert every so many epochs and log how far the ``.tflite`` file is from the model.

    Adds ``parity_differing`` (share of outputs that differ as integers), ``parity_max_steps`` and, with labels,
    ``parity_accuracy_keras`` and ``parity_accuracy_tflite`` to ``logs``, NaN after epochs that are not measured, so
    that ``History``, ``CSVLogger`` and ``TensorBoard`` have them; callbacks see what stands before them in the list.
    The training is not disturbed: weights, optimizer and random numbers are the same with and without it. A
    measurement that fails is a warning, and the training goes on.

    Args:
        data: what both sides are compared on: a file, an array, ``(x, y)``, or arrays by input name (labels in ``y``).
        every: epochs between measurements; the last epoch is always measured.
        calibration: representative data for the converter, in the same forms; ``data`` where there is none. The ranges
            of a quantization-aware model come from its training, those of a float model from here.
        runtime: ``xnnpack``, ``builtin``, ``reference`` or ``tflm``.
        log_dir: a folder for TensorBoard, where the four figures are written as scalars.
        patience: stop the training when the gap has settled: when the last ``patience + 1`` measurements of
            ``parity_differing`` lie within ``min_delta`` of each other. None never stops it.
        min_delta: a share of outputs.

    ``gaps`` holds the measurements by epoch, counted from 0 as Keras does.

    Raises:
        QuantdiffError: the data cannot be used, do not fit the model, or the runtime is not installed.
        ValueError: ``every``, ``patience``, ``min_delta`` or ``runtime`` has no meaning.
    """

    def __init__(  # noqa: PLR0913 (how Keras' callbacks are set up)
        self,
        data: Any,
        every: int = 1,
        *,
        calibration: Any = None,
        runtime: str = "xnnpack",
        log_dir: str | Path | None = None,
        patience: int | None = None,
        min_delta: float = 0.001,
    ) -> None:
        super().__init__()
        _check(every, runtime, patience, min_delta)
        check_installed((runtime,))
        self.batch = as_batch(data)
        self.calibration = self.batch if calibration is None else as_batch(calibration)
        self.every, self.patience, self.min_delta = every, patience, min_delta
        self.runtime = runtime
        self.log_dir = log_dir
        self.writer: Any = None
        self.gaps: dict[int, Gap] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse data that do not fit, before hours of training; forget the training before."""
        del logs
        self.gaps = {}
        if getattr(self.model, "inputs", None):
            for batch in (self.batch, self.calibration):
                bind(batch, slots_of(self.model), str(self.model.name))
        if self.log_dir is not None:
            self.writer = frameworks().tf.summary.create_file_writer(str(self.log_dir))

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file for TensorBoard."""
        del logs
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure where it is time to, log, and stop the training where the gap has settled."""
        due = (epoch + 1) % self.every == 0 or epoch + 1 == (self.params or {}).get("epochs")
        gap = self._measured(epoch) if due else Gap()
        figures = gap.logs(labels=self.batch.labels is not None)
        if logs is not None:
            logs.update(figures)
        if due:
            self._keep(epoch, gap, figures)

    def _measured(self, epoch: int) -> Gap:
        try:
            return measure_gap(self.model, self.batch, self.calibration, self.runtime)
        except Exception as error:  # hours of training are worth more than one figure
            warnings.warn(f"epoch {epoch + 1}: the gap could not be measured: {reason_of(error)}", stacklevel=2)
            return Gap()

    def _keep(self, epoch: int, gap: Gap, figures: dict[str, float]) -> None:
        self.gaps[epoch] = gap
        if self.writer is not None:
            write_scalars(self.writer, figures, epoch)
        shares = [each.differing for each in self.gaps.values()]
        if self.patience is not None and settled(shares, self.patience, self.min_delta):
            self.model.stop_training = True


def write_scalars(writer: Any, figures: dict[str, float], step: int) -> None:
    """Write figures as TensorBoard's ``scalar`` does, which is another package.

    The metadata that makes a tensor a scalar: ``create_summary_metadata`` in tensorboard/plugins/scalar/metadata.py.
    """
    tf = frameworks().tf
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_SCALAR)
    with writer.as_default(step=step):
        for name, value in figures.items():
            tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
    writer.flush()


def _check(every: int, runtime: str, patience: int | None, min_delta: float) -> None:
    if every < 1 or (patience is not None and patience < 1) or not min_delta >= 0:
        raise ValueError(f"every={every}, patience={patience}, min_delta={min_delta}: 1 or more, 1 or more, 0 or more")
    if runtime == ALL or not may_be_one(runtime):
        raise ValueError(f"runtime={runtime!r}: there are {', '.join(RUNTIMES)}")


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
