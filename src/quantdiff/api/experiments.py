"""The experiments: train, quantize, convert, compare, and repeat it; results that were kept, and what moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from quantdiff.api.engines import DEFAULTS, Settings, children, open_model, trace_everywhere, trace_one
from quantdiff.compare.moved import Movement, movement
from quantdiff.compare.outcome import Outcome, hold_together
from quantdiff.errors import BadData
from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import load_dataset, locate
from quantdiff.experiment.evaluate import attempt_all
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.study import Study
from quantdiff.experiment.summary import Summary, summarize
from quantdiff.experiment.trial import Attempt, Trial
from quantdiff.experiment.workers import carry_out
from quantdiff.files import read_file
from quantdiff.quant import is_tolerance
from quantdiff.report.csv.study import header, summary_rows
from quantdiff.report.folder import add_to_summary, save_batch, staged
from quantdiff.report.json.outcome import SCHEMA, outcome_document
from quantdiff.report.json.text import json_text
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import check_installed, versions

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


LOCKED = "waiting for another program, which has locked the store"


def sweep(
    study: Study, path: Path, on: Executor, *, retry_failed: bool = False, progress: Progress = silent
) -> tuple[Stored, ...]:
    """Carry out the trials of ``study`` that the store in ``path`` does not have yet; gives them all, in its order.

    Whatever ends this process, what is stored stays, and the next call goes on from there.

    Args:
        study: models, seeds, conditions, data.
        path: the store, an SQLite file; made if it is not there.
        on: any executor: ``experiment.workers.Workers``, or a cluster's.
        retry_failed: try trials again that are stored as failed.
        progress: called with ``trials``, how many are done, and how many there are; with ``LOCKED`` for ``trials``
            where another program has the store, which is waited for up to a minute.

    Returns:
        The study's trials, error rates as shares, comparisons in real units and in steps.

    Raises:
        QuantdiffError: a model, the data set or a runtime is not there, or the store cannot be used. A trial that
            fails is stored with its error.
    """
    check_installed(study.runtimes)
    groups = study.groups()
    keys = {trial.key: place for place, trial in enumerate(trial for group in groups for trial in group)}
    with open_store(path, create=True) as store:
        have = store.keys(failed=not retry_failed)
        waiting = [todo for group in groups if (todo := tuple(t for t in group if t.key not in have))]
        done = len(keys) - sum(map(len, waiting))
        progress("trials", done, len(keys))
        for finished in carry_out(attempt_all, waiting, on):
            attempt = finished.result or Attempt(None, finished.error)
            store.add(Stored(finished.trial, attempt.result, attempt.error), partial(progress, LOCKED, done, len(keys)))
            done += 1
            progress("trials", done, len(keys))
        return tuple(sorted(store.read(keys), key=lambda stored: keys[stored.trial.key]))


def report_study(path: Path) -> Summary:
    """Sum up all that the store in ``path`` has.

    Intervals are percentile bootstraps of the mean over seeds, tests exact sign tests (``experiment/summary.py``).

    Args:
        path: a store that ``sweep`` made.

    Returns:
        Error rates (shares) with intervals, paired differences, outputs that differ, ranges in real units.

    Raises:
        QuantdiffError: no such store, or nothing in it.
    """
    with open_store(path, create=False) as store:
        return summarize(store.read())


def count_stored(study: Study, path: Path) -> tuple[int, int]:
    """How many trials of the study are stored, and how many it has.

    Args:
        study: models, seeds, conditions, data.
        path: its store.

    Returns:
        Both counts; those that were stored as failed are among the first.

    Raises:
        QuantdiffError: no such store, or it cannot be read.
    """
    keys: set[str] = {trial.key for group in study.groups() for trial in group}
    with open_store(path, create=False) as store:
        return len(keys & store.keys()), len(keys)


RESULTS_AT_MOST = 100_000_000  # bytes


def what_moved(before: str | Path, after: str | Path) -> Movement:
    """What is otherwise in the second of two results of the same command.

    Args:
        before: the folder of a run, or a file that ``--json`` printed.
        after: the same.

    Returns:
        Every figure that is not the same, and the versions of packages that are not.

    Raises:
        BadData: one of them is no result of quantdiff.
        NotComparable: they are of two commands, or have no figure in common.
    """
    documents = []
    for path in map(Path, (before, after)):
        found = read_run(path) if path.is_dir() else read_document(path, "give what --json printed")
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise BadData(f"{path}: not a JSON document of quantdiff; give what --json printed")
        documents.append(found)
    return movement(documents[0], documents[1], (str(before), str(after)))


def read_run(folder: str | Path) -> Mapping[str, Any]:
    """What a run wrote as its results.

    Args:
        folder: what ``quantdiff run --out`` made.

    Returns:
        The document of ``quantdiff run --json``; ``docs/reference/json.md`` explains the keys.

    Raises:
        BadData: not the folder of a run.
    """
    path = Path(folder) / RESULTS
    document = read_document(path, "give the folder that `quantdiff run` made")
    if not _are_results(document):
        raise BadData(f"{path}: not the results of a `quantdiff run`; give the folder that it made")
    return dict(document)


def read_document(path: Path, advice: str) -> Any:
    """What a JSON file holds.

    Raises:
        BadData: it cannot be read, or is no JSON; the ``advice`` says what to give.
    """
    try:
        return json.loads(read_file(path, RESULTS_AT_MOST))
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}; {advice}") from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not a JSON document; make it again") from error


def _are_results(document: Any) -> bool:
    """Whether a page can be made again from these: who was compared, at which tolerance, what failed."""
    match document:
        case {"comparisons": [_, *_] as comparisons}:
            failures = document.get("failures", [])
            return isinstance(failures, list) and all(map(_is_comparison, comparisons)) and all(map(_failed, failures))
    return False


def _is_comparison(each: Any) -> bool:
    match each:
        case {"candidate": str(), "tolerance": float() | int() as tolerance}:
            return is_tolerance(tolerance)
    return False


def _failed(each: Any) -> bool:
    match each:
        case {"runtime": str()}:
            return True
    return False
