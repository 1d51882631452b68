"""A stored trial as values again: whatever somebody else wrote into the store, only what can be summed up gets in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.outcome import Failure
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.experiment.sweep_trial import (
    CALIBRATIONS,
    CONDITIONS,
    Score,
    Source,
    StoredRange,
    SweepResult,
    SweepTrial,
    Training,
)
from quantdiff.quant import is_tolerance

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
