"""Results in an SQLite file: one transaction a trial, so that whatever ends this process leaves whole trials."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.outcome import Failure
from quantdiff.errors import QuantdiffError
from quantdiff.experiment.sweep_trial import Score, Source, StoredRange, SweepResult, SweepTrial, Training

APPLICATION, VERSION = 0x71646966, 1  # "qdif", in the file's header
FIGURES = tuple(field.name for field in fields(Figures))
BOOLEANS = ("passed",)

SCHEMA = f"""
CREATE TABLE trials (
    key TEXT PRIMARY KEY, model TEXT, seed INTEGER, condition TEXT, calibration TEXT, data TEXT, epochs INTEGER,
    bias INTEGER, trial TEXT NOT NULL, error TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE scores (
    key TEXT, engine TEXT, count INTEGER, wrong INTEGER, place INTEGER, PRIMARY KEY (key, engine)
) WITHOUT ROWID;
CREATE TABLE comparisons (
    key TEXT, reference TEXT, candidate TEXT, tolerance REAL, {", ".join(FIGURES)}, place INTEGER,
    PRIMARY KEY (key, reference, candidate)
) WITHOUT ROWID;
CREATE TABLE ranges (
    key TEXT, layer TEXT, role TEXT, low REAL, high REAL, scale REAL, zero_point INTEGER, place INTEGER,
    PRIMARY KEY (key, layer, role)
) WITHOUT ROWID;
CREATE TABLE failures (key TEXT, runtime TEXT, error TEXT, place INTEGER, PRIMARY KEY (key, runtime)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
PARTS = ("scores", "comparisons", "ranges", "failures")  # of a result; ``place`` keeps their order


class BadStore(QuantdiffError):
    """A file that is no store of a sweep, or cannot be written."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A trial as the store has it: with a result, or with the error that it failed with."""

    trial: SweepTrial
    result: SweepResult | None
    error: str = ""


class Store:
    """An open file of results; one process writes, any number may read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def keys(self, *, failed: bool = True) -> set[str]:
        """Keys of the trials that are stored: of all, or of those in which nothing failed."""
        query = "SELECT key FROM trials" + (
            "" if failed else " WHERE error = '' AND key NOT IN (SELECT key FROM failures)"
        )
        return {key for (key,) in self.connection.execute(query)}

    def add(self, stored: Stored) -> None:
        """Store a trial, in one transaction; one that had failed before is replaced."""
        key, trial = stored.trial.key, stored.trial
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            for table in ("trials", *PARTS):
                self.connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
            training = trial.training
            row = (training.model.name, training.seed, trial.condition, trial.calibration, training.data.name)
            options = (training.epochs, training.bias, json.dumps(asdict(trial)), stored.error)
            self._insert("trials", [(key, *row, *options)])
            if stored.result is not None:
                self._add_result(key, stored.result)

    def _add_result(self, key: str, result: SweepResult) -> None:
        compared = ((c.reference, c.candidate, c.tolerance, *astuple(c.figures)) for c in result.comparisons)
        rows: dict[str, Iterable[tuple[Any, ...]]] = {
            "scores": map(astuple, result.scores),
            "comparisons": compared,
            "ranges": map(astuple, result.ranges),
            "failures": map(astuple, result.failures),
        }
        for table in PARTS:
            self._insert(table, ((key, *row, place) for place, row in enumerate(rows[table])))

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def read(self, keys: Collection[str] | None = None) -> Iterator[Stored]:
        """Every stored trial, or those of ``keys``; models, seeds and conditions in order."""
        found = {table: self._by_key(table) for table in PARTS}
        query = "SELECT key, trial, error FROM trials ORDER BY model, seed, condition, calibration, key"
        for key, text, error in self.connection.execute(query).fetchall():
            if keys is None or key in keys:
                result = None if error else _result({table: found[table].get(key, []) for table in found})
                yield Stored(_trial(json.loads(text)), result, error)

    def _by_key(self, table: str) -> dict[str, list[tuple[Any, ...]]]:
        rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for key, *row in self.connection.execute(f"SELECT * FROM {table} ORDER BY key, place"):
            rows[key].append(tuple(row[:-1]))
        return rows


@contextmanager
def open_store(path: Path, *, create: bool) -> Iterator[Store]:
    """The store in ``path``, made where there is none and ``create``.

    Raises:
        BadStore: no file, not a store, of another version, or the system refuses.
    """
    if not (create or path.is_file()):
        raise BadStore(f"{path}: no such store; quantdiff sweep --store {path} makes one")
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            _prepare(connection, path)
            yield Store(connection)
    except sqlite3.Error as error:
        raise BadStore(
            f"{path}: {error}; is it a store of quantdiff sweep, in a folder that can be written?"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    if _is_store(connection, path):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_store(connection, path):  # another process may have made it meanwhile
            for statement in SCHEMA.split(";"):
                connection.execute(statement)


def _is_store(connection: sqlite3.Connection, path: Path) -> bool:
    """True for a store, False for an empty file; raises ``BadStore`` for anything else."""
    pragmas = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    application, version, tables = (connection.execute(pragma).fetchone()[0] for pragma in pragmas)
    if (application, version) == (APPLICATION, VERSION):
        return True
    if application or version or tables:
        raise BadStore(f"{path}: not a store that this version of quantdiff sweep reads; choose another --store")
    return False


def _trial(value: dict[str, Any]) -> SweepTrial:
    training = value.pop("training")
    made_with = tuple((name, version) for name, version in training.pop("versions"))
    model, data = (Source(**training.pop(name)) for name in ("model", "data"))
    runtimes = tuple(value.pop("runtimes"))
    return SweepTrial(Training(model=model, data=data, versions=made_with, **training), runtimes=runtimes, **value)


def _result(rows: dict[str, list[tuple[Any, ...]]]) -> SweepResult:
    return SweepResult(
        tuple(Score(*row) for row in rows["scores"]),
        tuple(_comparison(*row) for row in rows["comparisons"]),
        tuple(StoredRange(*row) for row in rows["ranges"]),
        tuple(Failure(*row) for row in rows["failures"]),
    )


def _comparison(reference: str, candidate: str, tolerance: float, *rest: Any) -> Comparison:
    values = dict(zip(FIGURES, rest, strict=True))
    figures = Figures(**{name: bool(value) if name in BOOLEANS else value for name, value in values.items()})
    return Comparison(reference, candidate, tolerance, figures, ())
