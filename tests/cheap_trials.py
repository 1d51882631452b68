"""Trials that cost nothing, for the engine and the store: results are made from the trial's value alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handshake import reach
from some_figures import FIGURES

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.outcome import Failure
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.trial import Attempt, Score, Source, StoredRange, SweepResult, SweepTrial, Training
from quantdiff.experiment.workers import Workers, carry_out

DATA = Source("digits.npz", "d" * 64, "/somewhere/digits.npz")


def trial(seed: int, condition: str = "qat-tflite", model: str = "dense2", calibration: str = "") -> SweepTrial:
    versions = (("python", "3.11"), ("numpy", "2.4"))
    return SweepTrial(Training(Source(model), seed, DATA, versions=versions), condition, calibration)


def groups(count: int, size: int = 2) -> list[tuple[SweepTrial, ...]]:
    conditions = ("qat-tflite", "ptq", "qat-ptq")[:size]
    return [tuple(trial(seed, condition) for condition in conditions) for seed in range(count)]


def result(of: SweepTrial) -> SweepResult:
    """Figures that tell one trial from another, infinity and a missing one among them."""
    seed = of.training.seed
    figures = replace(FIGURES, max_abs_error=seed / 3, mean_abs_error=seed / 7, not_close=0.1, differing=seed)
    figures = replace(figures, max_relative_error=None, sqnr_db=float("inf"), top1_agreement=None)
    return SweepResult(
        (Score("tflite:xnnpack", 1000, seed), Score("tflite:reference", 1000, seed + 1)),
        (
            Comparison("qat", "tflite:xnnpack", 0.01, figures, ()),
            Comparison("copied", "tflite:reference", 0.01, figures, ()),
        ),
        (
            StoredRange("dense", "output", -seed / 9, 6.0, 0.047, 3),
            StoredRange("conv", "kernel", -1.0, 1.0, None, None),
        ),
        (Failure("tflm", "tflm failed"),) if seed % 5 == 0 else (),
    )


def double(numbers: Sequence[int]) -> list[int]:
    return [2 * number for number in numbers]


def attempt(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
    """Takes some milliseconds, so that a kill falls in between."""
    time.sleep(0.003 * len(trials))
    return tuple(Attempt(result(each)) for each in trials)


def attempt_and_tell(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
    """As ``attempt``; the test knows of it, and goes on with it when it likes."""
    reach("try")
    return tuple(Attempt(result(each)) for each in trials)


def deadly(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
    """Seed 3 under ``ptq`` kills the process that tries it."""
    if any((each.training.seed, each.condition) == (3, "ptq") for each in trials):
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(trials)


def study(store: Path, count: int, jobs: int) -> None:
    """What ``api.sweep`` does, with cheap trials; the test knows of every statement before SQLite carries it out."""
    with open_store(store, create=True) as opened, Workers(jobs) as on:
        opened.connection.set_trace_callback(reach)
        have = opened.keys()
        waiting = [todo for group in groups(count) if (todo := tuple(t for t in group if t.key not in have))]
        for finished in carry_out(attempt_and_tell, waiting, on):
            done = finished.result or Attempt(None, finished.error)
            opened.add(Stored(finished.trial, done.result, done.error))
