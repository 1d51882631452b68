"""The store: what goes in comes out; kill -9 at random points loses nothing, doubles nothing, halves nothing."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import cheap_trials as cheap
import pytest
from handshake import ENDED, Meeting

from quantdiff.api.experiments import report_study
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.errors import QuantdiffError
from quantdiff.experiment import store as store_module
from quantdiff.experiment.store import BadStore, Stored, open_store
from quantdiff.experiment.trial import Source
from quantdiff.report.csv.study import sweep_csv
from quantdiff.report.json.study import sweep_document

METRIC = Source("own.py:f1", "a" * 64, "/here/own.py")
COUNT = 60  # groups of two
CODE = "import cheap_trials, pathlib, sys; cheap_trials.study(pathlib.Path(sys.argv[1]), {count}, 2)"


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    rows = [Stored(each, cheap.result(each)) for group in cheap.groups(7) for each in group]
    rows.append(Stored(cheap.trial(9), None, "the converter failed"))
    with open_store(tmp_path / "study.db", create=True) as store:
        for row in rows:
            store.add(row)
    with open_store(tmp_path / "study.db", create=False) as store:
        assert sorted(store.read(), key=lambda s: s.trial.key) == sorted(rows, key=lambda s: s.trial.key)
        assert store.keys() == {row.trial.key for row in rows}
        clean = {row.trial.key for row in rows if row.result and not row.result.failures}
        assert store.keys(failed=False) == clean
        assert [row.trial for row in store.read({rows[0].trial.key})] == [rows[0].trial]


def test_a_new_store_stands_in_a_folder_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "new" / "study.db"
    with pytest.raises(BadStore, match="no such store"), open_store(path, create=False):
        pass
    assert not path.parent.exists()
    with open_store(path, create=True):
        assert path.is_file()


def test_a_store_from_before_own_metrics_takes_them(tmp_path: Path) -> None:
    path, before, now = tmp_path / "study.db", cheap.trial(1), replace(cheap.trial(2), metric=METRIC)
    with open_store(path, create=True) as store:
        store.add(Stored(before, cheap.result(before)))
        store.connection.execute("DROP TABLE metrics")
    with open_store(path, create=False) as store:
        assert list(store.read()) == [Stored(before, cheap.result(before))]
    found = cheap.result(now)
    own = OwnFigure("f1", 0.75, 2 / 3), OwnFigure("recall", 1.0, 0.5)
    found = replace(found, comparisons=(replace(found.comparisons[0], own=own), *found.comparisons[1:]))
    with open_store(path, create=True) as store:
        store.add(Stored(now, found))
        assert list(store.read({now.key})) == [Stored(now, found)]
    assert "f1_reference,f1_candidate,f1_difference,recall_reference" in sweep_csv([Stored(now, found)])
    document = sweep_document([Stored(now, found)], "study.db")
    assert document["trials"][0]["comparisons"][0]["metric"]["recall"]["difference"] == -0.5


def test_a_trial_without_a_metric_keeps_the_key_that_it_had() -> None:
    assert cheap.trial(1).key == "de6cef7cb032e656c6b7d861e04b2d90139a6642df007c08202a5254e2320379"
    named = replace(cheap.trial(1), metric=METRIC)
    assert named.key != cheap.trial(1).key
    assert replace(named, metric=replace(METRIC, path="/elsewhere/own.py")).key == named.key


def test_a_trial_is_replaced_not_doubled(tmp_path: Path) -> None:
    with open_store(tmp_path / "study.db", create=True) as store:
        store.add(Stored(cheap.trial(1), None, "killed"))
        store.add(Stored(cheap.trial(1), cheap.result(cheap.trial(1))))
        assert list(store.read()) == [Stored(cheap.trial(1), cheap.result(cheap.trial(1)))]


def test_the_key_is_the_value_not_the_place() -> None:
    here = cheap.trial(1)
    moved = replace(here, training=replace(here.training, data=replace(here.training.data, path="/elsewhere/d.npz")))
    assert moved.key == here.key
    changed = replace(here, training=replace(here.training, data=replace(here.training.data, sha256="e" * 64)))
    others = [
        changed,
        cheap.trial(2),
        cheap.trial(1, "ptq"),
        replace(here, runtimes=("tflm",)),
        replace(here, tolerance=0.1),
    ]
    assert len({here.key, *(other.key for other in others)}) == 1 + len(others)


def test_files_that_are_no_store(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="no such store"), open_store(tmp_path / "none.db", create=False):
        pass
    (tmp_path / "text.db").write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(BadStore, match="file is not a database"), open_store(tmp_path / "text.db", create=True):
        pass
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(BadStore, match="choose another --store"), open_store(tmp_path / "other.db", create=True):
        pass


def check(path: Path) -> int:
    """How many trials are stored; each of them whole, and its own."""
    with open_store(path, create=True) as store:
        (verdict,) = store.connection.execute("PRAGMA integrity_check").fetchone()
        assert verdict == "ok"
        rows = list(store.read())
        assert all(row.result == cheap.result(row.trial) for row in rows)
        for table in ("scores", "comparisons", "ranges"):
            (each,) = store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert each == 2 * len(rows)
    return len(rows)


@pytest.mark.thorough
def test_kill_9_at_random_points(tmp_path: Path) -> None:
    """20 rounds on one store after another, in which the parent is killed at a statement, or a worker at its trials."""
    dice = random.Random(6)
    path, killed = tmp_path / "study0.db", {"parent": 0, "worker": 0}
    for turn in range(20):
        if path.is_file() and check(path) == 2 * COUNT:
            path = tmp_path / f"study{turn}.db"
        before, victim = check(path), dice.choice(["parent", "worker"])
        place, in_between = dice.randrange({"parent": 600, "worker": 20}[victim]), dice.choice([True, False])
        with Meeting() as meeting, started(path, meeting) as parent:
            study = Round(meeting, parent.pid)
            held = study.go_on(victim, place)
            commits, in_doubt = study.commits, in_between and study.point == "COMMIT"
            if held:
                if in_between:
                    meeting.go(held)  # it is killed while it works, in SQLite perhaps
                os.kill(held, signal.SIGKILL)
                killed[victim] += 1
                study.go_on("nobody")
            assert parent.wait() == (-signal.SIGKILL if held == parent.pid else 0)
        if held == parent.pid:
            assert check(path) - before in ((commits, commits + 1) if in_doubt else (commits,))
        else:
            assert check(path) == 2 * COUNT
    assert min(killed.values()) >= 4, killed


def started(path: Path, meeting: Meeting) -> subprocess.Popen[bytes]:
    environment = {**meeting.environment, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", CODE.format(count=COUNT), str(path)], env=environment)


class Round:
    """A study that runs: which of its processes are there, the point last reached, and the commits carried out."""

    def __init__(self, meeting: Meeting, parent: int) -> None:
        self.meeting, self.parent, self.alive = meeting, parent, {parent}
        self.point, self.commits = "", 0

    def go_on(self, victim: str, place: int = 0) -> int:
        """Let all go on until the victim has reached its points up to ``place``: its process id; 0 when all ended."""
        for pid, point in self.meeting.points():
            self.point = point
            if point == ENDED:  # workers do so with their parent, however it ends
                self.alive.discard(pid)
                if not self.alive:
                    break
                continue
            self.alive.add(pid)
            if victim == ("parent" if pid == self.parent else "worker"):
                if not place:
                    return pid
                place -= 1
            self.commits += point == "COMMIT"
        return 0


def damaged(path: Path, *statements: str) -> str:
    """What is said of a store in which somebody has written; nothing where it can be read all the same."""
    with open_store(path, create=True) as store:
        for group in cheap.groups(3):
            for each in group:
                store.add(Stored(each, cheap.result(each)))
    with closing(sqlite3.connect(path)) as other:
        for statement in statements:
            other.execute(statement)
        other.commit()
    try:
        report_study(path)
    except QuantdiffError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET trial = '{'",
        "UPDATE trials SET trial = '[]'",
        "UPDATE trials SET trial = '{\"training\": {}}'",
        f"UPDATE trials SET trial = '{'[' * 100_000}'",
        "UPDATE trials SET trial = x'ff00'",
        "UPDATE trials SET trial = 5",
        "UPDATE trials SET key = 'a' || key",
        "UPDATE trials SET trial = replace(trial, 'qat', 'zzz')",
        "UPDATE scores SET wrong = NULL",
        "UPDATE scores SET wrong = 'abc'",
        "UPDATE scores SET count = 0",
        "UPDATE scores SET wrong = 9223372036854775807",
        "UPDATE comparisons SET max_abs_error = NULL",
        "UPDATE comparisons SET max_steps = 'z'",
        "UPDATE comparisons SET count = 0",
        "UPDATE comparisons SET passed = 'x'",
        "UPDATE ranges SET low = NULL",
        "UPDATE ranges SET layer = x'ff00'",
        "UPDATE failures SET error = x'ff00'",
        "UPDATE comparisons SET not_close = 1e308",
        "UPDATE comparisons SET not_close = -0.5",
        "UPDATE comparisons SET max_abs_error = 1e308",
        "UPDATE ranges SET low = -1e308",
        "UPDATE ranges SET low = 9e999, high = 9e999",
        "UPDATE ranges SET low = 7",
    ],
)
def test_a_damaged_trial_is_named(tmp_path: Path, statement: str) -> None:
    said = damaged(tmp_path / "study.db", statement)
    assert said.startswith(f"{tmp_path}/study.db: trial ")
    assert "is damaged" in said
    assert "\n" not in said


def test_text_that_is_no_unicode_is_told_in_one_line(tmp_path: Path) -> None:
    said = damaged(tmp_path / "study.db", "UPDATE ranges SET layer = CAST(x'410aff' AS TEXT)")
    assert said.startswith(f"{tmp_path}/study.db: Could not decode")
    assert "\n" not in said


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE ranges",),
        ("ALTER TABLE scores ADD COLUMN z",),
        ("CREATE TABLE mine (x)",),
        ("PRAGMA user_version = 2",),
        ("CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM trials; END",),
        (
            "DROP TABLE ranges",
            "CREATE VIEW ranges AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT 'k' key, "
            "'l' layer, 'r' role, 1.0 low, 1.0 high, 1.0 scale, 1 zp, x place FROM c",
        ),
    ],
)
def test_other_tables_are_no_store(tmp_path: Path, statements: tuple[str, ...]) -> None:
    assert "not a store that this version" in damaged(tmp_path / "study.db", *statements)


def test_a_locked_store_says_so_soon(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    for journal in ("wal", "delete"):
        assert damaged(path) == ""
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA journal_mode = {journal}")
            other.execute("BEGIN EXCLUSIVE")
            start = time.monotonic()
            with pytest.raises(BadStore, match="locked by another program"), open_store(path, create=True):
                pass
            assert time.monotonic() - start < 5


def test_results_wait_for_a_locked_store_and_say_so(tmp_path: Path) -> None:
    path, told = tmp_path / "study.db", list[str]()
    trial = next(iter(cheap.groups(1)))[0]
    with open_store(path, create=True) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        def on_locked() -> None:
            told.append("locked")
            other.execute("ROLLBACK")

        for _ in range(2):
            store.add(Stored(trial, cheap.result(trial)), on_locked)
        assert (told, store.keys()) == (["locked"], {trial.key})
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        store.add(Stored(trial, cheap.result(trial)), on_locked)
        assert told == ["locked"] * 2
        assert time.monotonic() - started < 20


def test_a_store_that_another_makes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = store_module._made

    def made(connection: sqlite3.Connection) -> set[str]:
        monkeypatch.setattr(store_module, "_made", look)
        with open_store(tmp_path / "one.db", create=True):
            return look(connection)

    monkeypatch.setattr(store_module, "_made", made)
    with open_store(tmp_path / "one.db", create=True) as store:
        assert store.keys() == set()


def test_two_that_make_one_store_wait_for_each_other(tmp_path: Path) -> None:
    """Until each has seen the other, nobody has a store: then both make it at once."""
    for number in range(20):
        path, together = tmp_path / f"{number}.db", Barrier(4)

        def make(seed: int, path: Path = path, together: Barrier = together) -> None:
            together.wait()
            with open_store(path, create=True) as store:
                store.add(Stored(cheap.trial(seed), None, "failed"))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(make, range(4)))
        with open_store(path, create=False) as store:
            assert len(store.keys()) == 4
