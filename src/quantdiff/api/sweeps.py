"""Repeated experiments: every trial once, on any executor, into a store."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from quantdiff.experiment.engine import carry_out
from quantdiff.experiment.evaluate import attempt_all
from quantdiff.experiment.store import open_store
from quantdiff.experiment.stored import Stored
from quantdiff.experiment.study import Study
from quantdiff.experiment.summarize import summarize
from quantdiff.experiment.summary import Summary
from quantdiff.experiment.sweep_trial import Attempt
from quantdiff.progress import Progress, silent
from quantdiff.run.runtimes import check_installed

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

    Intervals are percentile bootstraps of the mean over seeds, tests exact sign tests (``experiment/statistics.py``).

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
