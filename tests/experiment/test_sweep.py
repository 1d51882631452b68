"""Real trials end to end: killed, gone on with, and the same rows from another worker."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from handshake import ENDED, Meeting

from quantdiff.cli import main
from quantdiff.experiment.evaluate import attempt_all
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.study import make_study
from quantdiff.experiment.trial import CONDITIONS, Attempt, SweepTrial
from quantdiff.experiment.workers import Workers

Worker = Callable[[Sequence[SweepTrial]], tuple[Attempt, ...]]

pytestmark = [pytest.mark.keras, pytest.mark.golden]

SWEEP = [str(Path(sys.executable).parent / "quantdiff"), "sweep"]
OPTIONS = ["--models", "dense1", "--seeds", "0-1", "--data", "digits.npz", "--calibration", "test"]
TRIALS = 2 * len(CONDITIONS)
KILLED_AFTER = 5  # trials, in the middle of a group
BUILDER = """
import tf_keras as keras

def build():
    relu = keras.layers.Dense(4, activation="relu")
    return keras.Sequential([keras.layers.InputLayer(input_shape=(6,)), relu, keras.layers.Dense(3, "softmax")])

def margin(outputs, labels):
    (scores,) = outputs.values()
    return {"margin": (float(scores.max(axis=1).sum()), len(labels)), "ones": (len(labels), len(labels))}

def not_a_model():
    return "a string"

def raises():
    return {}["nothing"]
"""


def digits(path: Path, shape: tuple[int, ...], classes: int) -> None:
    dice = np.random.default_rng(0)
    y = dice.integers(0, classes, 300)
    x = (dice.uniform(0, 0.6, (300, *shape)) + y.reshape(-1, *[1] * len(shape)) / 30).astype(np.float32)
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    digits(path / "digits.npz", (28, 28), 10)
    digits(path / "flat.npz", (6,), 3)
    (path / "mine.py").write_text(BUILDER)
    return path


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker process for all tests: TensorFlow is imported once."""
    with Workers(1) as on:
        yield lambda trials: on.submit(attempt_all, trials).result()


def rows(path: Path) -> dict[str, Stored]:
    with open_store(path, create=False) as store:
        return {stored.trial.key: stored for stored in store.read()}


def started(folder: Path, meeting: Meeting, *options: str, **streams: Any) -> subprocess.Popen[str]:
    """A sweep that meets the test where a worker tries a group and where a trial is stored."""
    environment = {**meeting.environment, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", "import told_sweep; told_sweep.main()", "sweep", *OPTIONS, *options]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **streams)


def wait_for(meeting: Meeting, point: str, times: int = 1) -> None:
    """Let all go on until this point is reached for the last of ``times``: that process waits there."""
    for _, reached in meeting.points():
        assert reached != ENDED
        times -= reached == point
        if not times:
            return


@pytest.mark.thorough
def test_killed_and_gone_on_with_it_has_every_row_once(folder: Path, worker: Worker) -> None:
    command = [*SWEEP, *OPTIONS, "--store", "a.db"]
    with Meeting() as meeting:
        options = "--store", "a.db", "--jobs", "2"
        parent = started(folder, meeting, *options, stdout=subprocess.DEVNULL)
        wait_for(meeting, "stored", KILLED_AFTER)
        parent.kill()
        parent.wait()
    some = rows(folder / "a.db")
    assert len(some) == KILLED_AFTER

    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {(row["condition"], row["seed"]) for row in table} == {(c, str(s)) for c in CONDITIONS for s in range(2)}
    stored = rows(folder / "a.db")
    assert len(stored) == TRIALS
    assert all(each.result and not each.result.failures for each in stored.values())
    assert some.items() <= stored.items()

    again = subprocess.run([*command, "--jobs", "2"], cwd=folder, check=True, capture_output=True, text=True)
    assert again.stdout == done.stdout  # found again, in no time

    # What the worker of the killed run gave, another one gives, in another order and after other trainings.
    known = [each for each in some.values() if each.trial.condition in ("qat-bias", "copied-ptq", "qat")]
    for each in reversed(known):
        (attempt,) = worker([each.trial])
        assert attempt.result == each.result

    report = CliRunner().invoke(main, ["report", str(folder / "a.db"), "--html", str(folder / "a.html"), "--json"])
    assert report.exit_code == 0, report.output
    assert json.loads(report.stdout)["trials"] == TRIALS
    page = (folder / "a.html").read_text()
    assert "copied-ptq (test), xnnpack" in page
    assert "<script src=" not in page


def test_ctrl_c_says_how_to_go_on(folder: Path) -> None:
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, children too
    with Meeting() as meeting:
        child = started(folder, meeting, "--store", "c.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        signal.signal(signal.SIGINT, before)
        wait_for(meeting, "try")
        child.send_signal(signal.SIGINT)
        printed, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert said == f"error: stopped; 0 of {TRIALS} trials are in c.db. The same command goes on from there\n"
    assert printed == ""


@pytest.mark.thorough
def test_a_cached_training_gives_what_a_fresh_one_gives(
    folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    options = {"models": "dense1,dense2", "data": "digits.npz", "conditions": "qat,ptq,copied-ptq,qat-bias"}
    other, group = make_study(options).groups()
    first = worker(group)
    assert not [attempt.error for attempt in first if attempt.error]
    assert worker(group[::-1]) == first[::-1]  # cached, with other conditions before each
    worker(other[:1])  # throws the training out
    assert worker(group[2:]) == first[2:]


def test_an_own_model_on_own_data(folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    asked = {"model": "mine.py:build", "data": "flat.npz", "conditions": "float,qat-tflite,qat-bias"}
    (group,) = make_study({**asked, "metric": "mine.py:margin"}).groups()
    attempts = worker(group)
    assert [attempt.error for attempt in attempts] == [""] * 3
    results = [attempt.result for attempt in attempts if attempt.result]
    assert [result.scores[0].count for result in results] == [100] * 3
    assert {r.layer for r in results[1].ranges if r.role == "kernel"} == {"dense", "dense_1"}
    (compared,) = results[1].comparisons
    assert [(own.name, own.difference == 0) for own in compared.own] == [("margin", False), ("ones", True)]
    assert 1 / 3 < compared.own[0].candidate < 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("mine.py:absent", "mine.py: has no function absent"),
        ("mine.py:not_a_model", "mine.py:not_a_model gave a builtins.str; TFMOT takes models of Keras 2"),
        ("mine.py:raises", "mine.py:raises: KeyError while it ran: 'nothing'"),
    ],
)
def test_an_own_model_that_fails_is_named(
    folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch, model: str, words: str
) -> None:
    monkeypatch.chdir(folder)
    ((trial,),) = make_study({"model": model, "data": "flat.npz", "conditions": "float"}).groups()
    (attempt,) = worker([trial])
    assert attempt.result is None
    assert words in attempt.error


def test_a_file_that_changes_under_a_trial_is_refused(
    folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "edited.py").write_text(BUILDER)
    ((trial,),) = make_study({"model": "edited.py:build", "data": "flat.npz", "conditions": "float"}).groups()
    (folder / "edited.py").write_text(BUILDER + "# edited")
    (attempt,) = worker([trial])
    assert "is not the file that this trial was made for" in attempt.error
