"""The experiments: train, quantize, convert, compare."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings, children, open_model, trace_everywhere, trace_one
from quantdiff.compare.outcome import Outcome, hold_together
from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import load_dataset, locate
from quantdiff.experiment.trial import Trial
from quantdiff.progress import Progress, silent
from quantdiff.report.csv.outcome import header, summary_rows
from quantdiff.report.folder import add_to_summary, save_batch, staged
from quantdiff.report.json.outcome import outcome_document
from quantdiff.report.plain import json_text
from quantdiff.run.versions import versions

FILES = {"float": "float.keras", "qat": "qat.h5", "tflite": "model.tflite", "data": "data.npz"}
RESULTS = "results.json"


def run(trial: Trial, out: Path, settings: Settings = DEFAULTS, progress: Progress = silent) -> Outcome:
    """Train, quantize, convert and compare; all that was made is in the folder ``out``.

    Args:
        trial: what to train, and how.
        out: a folder, made whole or not at all: ``float.keras``, ``qat.h5``, ``model.tflite``, ``data.npz`` (test
            images, float32 in [0, 1], shape (samples, 28, 28)), ``results.json``, ``summary.csv``.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        The float model against QAT, and both against the file on every runtime, in real units and in steps.

    Raises:
        QuantdiffError: the data set cannot be read, a step of the training fails, or ``out`` cannot be written.
            A runtime that fails is a ``Failure`` in the result.
    """
    locate(trial.data)
    with children(settings) as processes, ThreadPoolExecutor(1) as other, staged(out) as folder:
        reading = other.submit(load_dataset, trial.data)  # while TensorFlow is imported
        zoo.prepare()
        data = reading.result()
        models = [zoo.train(trial, data, progress)]
        models.append(zoo.quantize_aware(models[0], data, progress))
        progress("convert", 0, 1)
        written = zoo.convert(models[1], data.x_train if trial.quantize else None)
        progress("convert", 1, 1)
        zoo.save_models(folder, dict(zip((FILES["float"], FILES["qat"]), models, strict=True)))
        (folder / FILES["tflite"]).write_bytes(written)
        save_batch(folder / FILES["data"], data.test)
        references = tuple(trace_one(open_model(m, settings).engines[0], data.test, progress) for m in models)
        converted = open_model(folder / FILES["tflite"], settings, processes)
        ran, failures = trace_everywhere(converted, data.test, progress)
        outcome = replace(
            hold_together(references, tuple(trace for _, trace in ran), data.test.labels, settings.tolerance),
            failures=failures,
            made_by={"command": "run", **asdict(trial), "samples": len(data.test), "versions": versions()},
            artifacts={name: str(out / file) for name, file in FILES.items()},
        )
        (folder / RESULTS).write_text(json_text(outcome_document(outcome)) + "\n", encoding="utf-8")
        add_to_summary(folder, out, header(), summary_rows(trial, outcome))
    return outcome
