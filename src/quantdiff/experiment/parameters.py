"""The original parameter comparison: train, calibrate both sides on the same data, read the parameters of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from quantdiff.align.models import align_pair
from quantdiff.compare.outcome import hold_together
from quantdiff.experiment import zoo
from quantdiff.experiment.conditions import convert_calibrated, quantize_all_values
from quantdiff.experiment.datasets import Dataset
from quantdiff.experiment.trial import Trial
from quantdiff.files import scratch
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.params import observe, parameters
from quantdiff.parameters.quantizers import ModelPair, Observed, Parameters, Row, ZeroCheck
from quantdiff.recording import bound
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import describe, trace_keras
from quantdiff.references.keras.reference import open_keras
from quantdiff.references.tflite.reference import TfliteReference, trace_tflite
from quantdiff.run.runner import Progress, Runner


def compare_parameters(trial: Trial, data: Dataset, process: Runner, progress: Progress) -> Parameters:
    """Parameters of both sides, observed on the training set that both were calibrated on.

    Raises:
        QuantdiffError: a step of the training fails, or a model does not run.
    """
    base = zoo.train(trial, data, progress)
    qat = describe(quantize_all_values(base, data.x_train, progress), trial.name)
    with scratch() as folder:
        path = folder / "model.tflite"
        progress("convert", 0, 1)
        path.write_bytes(convert_calibrated(base, data.x_train))
        progress("convert", 1, 1)
        model, layers = load_tflite(path), read_layers(qat)
        batch = Batch({"x": data.x_train}, None, data.name)
        pair = ModelPair(
            layers, model.main, align_pair(open_keras(qat), TfliteReference(model, process), batch), Observed()
        )
        with open_keras(qat).recorder() as recorder:
            seen = observe(pair, bound(open_keras(qat), recorder, batch), model, batch, process)
        answer = parameters(replace(pair, observed=seen))
        references = (trace_keras(describe(base, trial.name), data.test), trace_keras(qat, data.test))
        scores = hold_together(references, (trace_tflite(model, data.test, process),), data.test.labels)
    return replace(
        answer,
        accuracy=scores.accuracy,
        zero_checks=tuple(zero_checks(answer.rows)),
        devices=tuple(device.name for device in frameworks().tf.config.list_logical_devices()),
        made_by={"command": "params", **asdict(trial), "samples": len(data.x_train)},
    )


def zero_checks(rows: tuple[Row, ...]) -> Iterator[ZeroCheck]:
    """What fake-quant makes of 0.0 on the first symmetric range of ``rows`` and on the first asymmetric one."""
    ranges = [(row, row.direct.low[0], row.direct.high[0]) for row in rows if row.direct and row.role != "bias"]
    for name, wanted in (("symmetric", True), ("asymmetric", False)):
        for row, low, high in ranges:
            if (low == -high) == wanted and 0 not in (low, high):
                result = _fake_quant_of_zero(low, high, narrow=row.role == "kernel")
                yield ZeroCheck(name, row.name, low, high, str(result.device), float(result))
                break


def _fake_quant_of_zero(low: float, high: float, *, narrow: bool) -> Any:
    return frameworks().tf.quantization.fake_quant_with_min_max_vars(0.0, low, high, num_bits=8, narrow_range=narrow)
