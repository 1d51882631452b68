"""Results in an SQLite file: one transaction a trial, so that whatever ends this process leaves whole trials.

Whatever somebody else wrote into the store, only what can be summed up becomes a trial again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.outcome import Failure
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.experiment.trial import (
    CALIBRATIONS,
    CONDITIONS,
    Score,
    Source,
    StoredRange,
    SweepResult,
    SweepTrial,
    Training,
)
from quantdiff.files import destination
from quantdiff.quant import is_tolerance

APPLICATION, VERSION = 0x71646966, 1  # "qdif", in the file's header
FIGURES = tuple(field.name for field in fields(Figures))

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
CREATE TABLE metrics (
    key TEXT, reference TEXT, candidate TEXT, name TEXT, of_reference REAL, of_candidate REAL, place INTEGER,
    PRIMARY KEY (key, reference, candidate, name)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
TABLES = {" ".join(part.split()) for part in SCHEMA.split(";") if "CREATE" in part}
LATER = next(table for table in TABLES if " metrics " in table)
"""A table that a store of this version may lack."""
PATIENCE, PATIENCE_WITH_RESULTS = 2, 60  # seconds that another program may lock the store; results wait for it longer
PARTS = ("scores", "comparisons", "ranges", "failures", "metrics")  # of a result; ``place`` keeps their order


class BadStore(QuantdiffError):
    """A file that is no store of a sweep, or cannot be written."""


class Store:
    """An open file of results; one process writes, any number may read."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection, self.path = connection, path

    def keys(self, *, failed: bool = True) -> set[str]:
        """Keys of the trials that are stored: of all, or of those in which nothing failed."""
        query = "SELECT key FROM trials" + (
            "" if failed else " WHERE error = '' AND key NOT IN (SELECT key FROM failures)"
        )
        return {key for (key,) in self.connection.execute(query)}

    def add(self, stored: Stored, on_locked: Callable[[], None] = lambda: None) -> None:
        """Store a trial, in one transaction; one that had failed before is replaced.

        ``on_locked`` is called where another program has the store for longer than a moment; it is waited for.
        """
        key, trial = stored.trial.key, stored.trial
        with self.connection:
            self._begin(on_locked)
            for table in ("trials", *PARTS):
                self.connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
            training = trial.training
            row = (training.model.name, training.seed, trial.condition, trial.calibration, training.data.name)
            options = (training.epochs, training.bias, json.dumps(asdict(trial)), stored.error)
            self._insert("trials", [(key, *row, *options)])
            if stored.result is not None:
                self._add_result(key, stored.result)

    def _begin(self, on_locked: Callable[[], None]) -> None:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            on_locked()
            self.connection.execute(f"PRAGMA busy_timeout = {1000 * PATIENCE_WITH_RESULTS}")
            self.connection.execute("BEGIN IMMEDIATE")
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {1000 * PATIENCE}")

    def _add_result(self, key: str, result: SweepResult) -> None:
        compared = ((c.reference, c.candidate, c.tolerance, *astuple(c.figures)) for c in result.comparisons)
        rows: dict[str, Iterable[tuple[Any, ...]]] = {
            "scores": map(astuple, result.scores),
            "comparisons": compared,
            "ranges": map(astuple, result.ranges),
            "failures": map(astuple, result.failures),
            "metrics": ((c.reference, c.candidate, *astuple(own)) for c in result.comparisons for own in c.own),
        }
        for table in PARTS:
            self._insert(table, ((key, *row, place) for place, row in enumerate(rows[table])))

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def read(self, keys: Collection[str] | None = None) -> Iterator[Stored]:
        """Every stored trial, or those of ``keys``; models, seeds and conditions in order.

        Raises:
            BadStore: a trial is damaged.
        """
        found = {table: self._by_key(table) for table in PARTS}
        query = "SELECT key, trial, error FROM trials ORDER BY model, seed, condition, calibration, key"
        for key, text, error in self.connection.execute(query).fetchall():
            if keys is None or key in keys:
                yield self._stored(key, text, error, {table: found[table].get(key, []) for table in found})

    def _stored(self, key: str, text: str, error: str, rows: dict[str, list[tuple[Any, ...]]]) -> Stored:
        try:
            stored = stored_trial(text, error, rows)
            if stored.trial.key != key:
                raise ValueError("its key is that of another trial")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as reason:
            raise BadStore(
                f"{self.path}: trial {str(key)[:12]} is damaged ({reason_of(reason)}); take a copy of the store, "
                "or start a new one: another --store"
            ) from reason
        return stored

    def _by_key(self, table: str) -> dict[str, list[tuple[Any, ...]]]:
        rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        if LATER not in _made(self.connection) and f" {table} " in LATER:
            return rows
        for key, *row in self.connection.execute(f"SELECT * FROM {table} ORDER BY key, place"):
            rows[key].append(tuple(row[:-1]))
        return rows


@contextmanager
def open_store(path: Path, *, create: bool) -> Iterator[Store]:
    """The store in ``path``, made where there is none and ``create``.

    Raises:
        BadStore: no file, not a store, of another version, damaged, locked by another program, or the system refuses.
    """
    _check_place(path, create=create)
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
            _prepare(connection, path, time.monotonic() + PATIENCE)
            if create:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")  # whether it can be written is known before hours of training
                    if LATER not in _made(connection):
                        connection.execute(LATER)
            yield Store(connection, path)
    except sqlite3.Error as error:
        if _is_busy(error):
            raise BadStore(f"{path}: locked by another program; go on with the same command when it is done") from error
        raise BadStore(
            f"{path}: {reason_of(error)}; is it a store of quantdiff sweep, in a folder that can be written?"
        ) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which names what is damaged
        raise BadStore(f"{path}: damaged; take a copy of the store, or choose another --store") from error


def _check_place(path: Path, *, create: bool) -> None:
    """Make the folder of a new store."""
    try:
        place = destination(path)
        if create:
            place.parent.mkdir(parents=True, exist_ok=True)
        there = place.exists()
    except OSError as error:
        raise BadStore(f"{path}: {error.strerror}; a store is one file, choose another") from error
    if not (create or there):
        raise BadStore(f"{path}: no such store; quantdiff sweep --store {path} makes one")


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # not set where no database is involved
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _prepare(connection: sqlite3.Connection, path: Path, deadline: float) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:  # SQLite waits for others, but not with this
        if not _is_busy(error) or time.monotonic() > deadline:
            raise
        time.sleep(0.02)
        _prepare(connection, path, deadline)
        return
    with connection:
        connection.execute("BEGIN")  # numbers and tables are those of one moment
        there = _is_store(connection, path)
    if there:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_store(connection, path):  # another process may have made it meanwhile
            for statement in SCHEMA.split(";"):
                connection.execute(statement)


def _is_store(connection: sqlite3.Connection, path: Path) -> bool:
    """True for a store, False for an empty file; raises ``BadStore`` for anything else.

    Its tables are those of ``SCHEMA`` to the word: a view or a trigger of a stranger could run for ever.
    """
    pragmas = ("PRAGMA application_id", "PRAGMA user_version")
    numbers = tuple(connection.execute(pragma).fetchone()[0] for pragma in pragmas)
    made = _made(connection)
    if numbers == (APPLICATION, VERSION) and made | {LATER} == TABLES:
        return True
    if any(numbers) or made:
        raise BadStore(f"{path}: not a store that this version of quantdiff sweep reads; choose another --store")
    return False


def _made(connection: sqlite3.Connection) -> set[str]:
    """What the file holds, each by the words that made it."""
    return {" ".join(str(sql).split()) for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}


T = TypeVar("T")
Row = tuple[Any, ...]
LARGEST = 1e300  # of finite numbers, so that sums of them stay finite


@dataclass(frozen=True, slots=True)
class Stored:
    """A trial as the store has it: with a result, or with the error that it failed with."""

    trial: SweepTrial
    result: SweepResult | None
    error: str = ""


def stored_trial(text: str, error: str, rows: Mapping[str, Sequence[Row]]) -> Stored:
    """The trial of a JSON text, and its result by the rows of each table.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, RecursionError: these are not what a sweep stores.
    """
    if type(error) is not str:
        raise TypeError("the error is no text")
    return Stored(_trial(json.loads(text)), None if error else _result(rows), error)


def _trial(value: dict[str, Any]) -> SweepTrial:
    training = value.pop("training")
    versions = tuple((_text(name), _text(version)) for name, version in training.pop("versions"))
    model, data = (_typed(Source, training.pop(name)) for name in ("model", "data"))
    metric = value.pop("metric", None)
    trained = _typed(Training, {**training, "model": model, "data": data, "versions": versions})
    runtimes = tuple(map(_text, value.pop("runtimes")))
    trial = _typed(
        SweepTrial, {**value, "training": trained, "runtimes": runtimes, "metric": metric and _typed(Source, metric)}
    )
    if trial.condition not in CONDITIONS or trial.calibration not in ("", *CALIBRATIONS):
        raise ValueError(f"no condition {trial.label!r}")
    if not is_tolerance(trial.tolerance):
        raise ValueError(f"tolerance {trial.tolerance}")
    return trial


def _result(rows: Mapping[str, Sequence[Row]]) -> SweepResult:
    return SweepResult(
        tuple(_score(*row) for row in rows["scores"]),
        tuple(_with_own(_comparison(*row), rows["metrics"]) for row in rows["comparisons"]),
        tuple(_range(*row) for row in rows["ranges"]),
        tuple(_typed(Failure, row) for row in rows["failures"]),
    )


def _score(*row: Any) -> Score:
    score = _typed(Score, row)
    if not 0 <= score.wrong <= score.count or not score.count:
        raise ValueError(f"{score.wrong} wrong of {score.count}")
    return score


def _comparison(reference: str, candidate: str, tolerance: float, count: int, passed: int, *rest: Any) -> Comparison:
    if passed not in (0, 1) or type(count) is not int or count < 1:
        raise ValueError(f"{count} numbers compared")
    figures = _typed(Figures, (count, bool(passed), *rest))
    if not 0 <= figures.not_close <= 1:
        raise ValueError(f"a share of {figures.not_close}")
    return Comparison(_text(reference), _text(candidate), _typed(_Number, (tolerance,)).value, figures, ())


def _with_own(comparison: Comparison, rows: Sequence[Row]) -> Comparison:
    """The comparison with the numbers of the user's metric: rows of reference, candidate, name and both numbers."""
    sides = comparison.reference, comparison.candidate
    return replace(comparison, own=tuple(_typed(OwnFigure, row[2:]) for row in rows if row[:2] == sides))


def _range(*row: Any) -> StoredRange:
    """A range whose ends can be averaged with those of others."""
    stored = _typed(StoredRange, row)
    if not stored.low <= stored.high or stored.low == inf or stored.high == -inf:
        raise ValueError(f"a range from {stored.low} to {stored.high}")
    return stored


@dataclass(frozen=True, slots=True)
class _Number:
    value: float


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is no text")
    return value


def _typed(kind: type[T], values: Mapping[str, Any] | Sequence[Any]) -> T:
    """A value of a dataclass, each of whose fields has the type that it says; whole numbers are floats, too."""
    hints = TYPES[kind]
    named = values if isinstance(values, Mapping) else dict(zip(hints, values, strict=True))
    for name, value in named.items():
        if type(value) not in hints[name]:
            raise TypeError(f"{name} is {value!r}"[:100])
        if type(value) is float and LARGEST < abs(value) < inf:
            raise ValueError(f"{name} is {value}")
    return kind(**named)


def _kinds(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is tuple:
        return (tuple,)
    kinds = get_args(hint) or (hint,)
    return (*kinds, int) if float in kinds else kinds


TYPES: dict[Any, dict[str, tuple[Any, ...]]] = {
    kind: {name: _kinds(hint) for name, hint in get_type_hints(kind).items()}
    for kind in (Failure, Figures, OwnFigure, Score, Source, StoredRange, SweepTrial, Training, _Number)
}
"""The types that each field of a stored value may have."""
