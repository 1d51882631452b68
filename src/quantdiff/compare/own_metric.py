"""A user's own metric, ``FILE.py:function``: what it says of both sides of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.errors import BadMetric, NotComparable
from quantdiff.files import python_function
from quantdiff.load.own_code import function_of, guarded
from quantdiff.quant import Array, Trace

WANTED = "return a number, or a dict of numbers, or (sum, count) where parts of the data add up"


@dataclass(frozen=True, slots=True)
class Score:
    """A number for some samples: ``total / count``; ``count`` None for one that does not add up over parts.

    Parts add up as fractions, so that it does not matter which of them came together first.
    """

    total: float | Fraction
    count: float | Fraction | None = None

    @property
    def value(self) -> float:
        """The number."""
        if self.count is None:
            return float(self.total)
        try:
            return float(Fraction(self.total) / Fraction(self.count)) if self.count else math.nan
        except OverflowError:
            return math.inf

    def plus(self, other: Score, name: str) -> Score:
        """Of both parts.

        Raises:
            NotComparable: it does not add up.
        """
        if self.count is None or other.count is None:
            raise NotComparable(f"metric {name}: one number for each part of the data; return (sum, count) instead")
        count = Fraction(self.count) + Fraction(other.count)
        return Score(Fraction(self.total) + Fraction(other.total), count)


@dataclass(frozen=True, slots=True)
class OwnFigure:
    """One number of the user's metric on both sides."""

    name: str
    reference: float
    candidate: float

    @property
    def difference(self) -> float:
        """Candidate minus reference."""
        return self.candidate - self.reference


@dataclass(frozen=True, slots=True)
class Metric:
    """``call(outputs, labels)``: outputs by name, real units, samples along axis 0; labels (samples,) or None."""

    name: str
    call: Callable[[dict[str, Array], Array | None], Any]

    def scores(self, outputs: Mapping[str, Array], labels: Array | None) -> dict[str, Score]:
        """What the function says of some outputs; it gets copies.

        Raises:
            BadMetric: it raises, or returns something else than numbers.
        """
        given = {name: np.array(values) for name, values in outputs.items()}
        said = self._called(given, None if labels is None else labels.copy())
        named = said if isinstance(said, Mapping) else {self.name.rpartition(":")[2]: said}
        if not named or not all(isinstance(key, str) and key.isidentifier() for key in named):
            raise BadMetric(f"{self.name}: returned names {list(named)!r:.80}; name numbers as Python names them")
        return {key: self._score(key, value) for key, value in named.items()}

    def _called(self, given: dict[str, Array], labels: Array | None) -> Any:
        try:
            return guarded(self.name, BadMetric, lambda: self.call(given, labels))
        except BadMetric as error:
            if isinstance(error.__cause__, AttributeError | TypeError | KeyError):  # it may have meant one array
                raise BadMetric(f"{error}; outputs come in a dict: {', '.join(given)}") from error
            raise

    def _score(self, key: str, value: Any) -> Score:
        pair = value if isinstance(value, tuple) else (value, None)
        try:
            total, count = float(pair[0]), None if pair[1] is None else float(pair[1])
        except (TypeError, ValueError, IndexError) as error:
            raise BadMetric(f"{self.name}: {key} is {type(value).__name__}; {WANTED}") from error
        score = Score(total, count)
        finite = math.isfinite(total) and math.isfinite(count or 0.0)
        if len(pair) != 2 or not finite or not math.isfinite(score.value):  # noqa: PLR2004 (sum and count)
            raise BadMetric(f"{self.name}: {key} is {value!r:.60}; {WANTED}, finite ones")
        return score


def metric_of(source: Any) -> Metric:
    """A metric from ``FILE.py:function``, which runs, or from a function.

    Raises:
        BadMetric: no such file or function, or it fails.
    """
    if isinstance(source, Metric):
        return source
    if callable(source):
        return Metric(str(getattr(source, "__name__", type(source).__name__)), source)
    if not isinstance(source, str | Path) or python_function(source) is None:
        raise BadMetric(f"--metric {source}: give FILE.py:function, a function of outputs by name and labels")
    return Metric(str(source), function_of(source, BadMetric))


def own_scores(
    metric: Metric | None, reference: Trace, candidates: Sequence[Trace], labels: Array | None
) -> list[dict[str, tuple[Score, Score]]]:
    """For each candidate every number on both sides; outputs go by the reference's names, in its shapes.

    Raises:
        BadMetric: as ``Metric.scores``; or other names on the two sides.
    """
    if metric is None:
        return [{} for _ in candidates]
    ours = metric.scores({value.name: value.real for value in reference.outputs}, labels)
    found = []
    for candidate in candidates:
        pairs, _ = pair_outputs(reference, candidate)
        theirs = metric.scores({a.name: b.real.reshape(a.array.shape) for a, b in pairs}, labels)
        if theirs.keys() != ours.keys():
            raise BadMetric(f"{metric.name}: names {[*ours]} for one side and {[*theirs]} for the other; give the same")
        found.append({name: (ours[name], theirs[name]) for name in ours})
    return found
