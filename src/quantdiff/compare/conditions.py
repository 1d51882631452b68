"""What counts as different: ``--fail-on 'max_steps>1'``, or ``max_steps=1`` in a test."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, fields
from math import inf
from typing import cast

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.errors import BadExpression

OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
METRICS = tuple(field.name for field in fields(Figures) if field.name != "passed")
BOUNDS = {
    "differing": (">", inf),
    "max_steps": (">", inf),
    "not_close": (">", 1.0),
    "max_abs_error": (">", inf),
    "mean_abs_error": (">", inf),
    "max_relative_error": (">", inf),
    "sqnr_db": ("<", -inf),
    "cosine": ("<", -1.0),
    "top1_agreement": ("<", 0.0),
}
"""The metrics that say how good a candidate is: on which side of a limit it is different, and the end of the scale."""
PATTERN = re.compile(
    r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|inf))\s*", re.I
)


@dataclass(frozen=True, slots=True)
class Condition:
    """``metric``, a comparison sign, a limit: the models differ where this holds."""

    metric: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.limit:g}"


CLOSE = Condition("not_close", ">", 0.0)
"""What counts as different where nothing is asked: any output beyond the tolerance."""


def parse(text: str, option: str = "--fail-on", *, own: bool = False) -> Condition:
    """Read one expression such as ``not_close>0.02``; with ``own`` the user's metric may have other names.

    Raises:
        BadExpression: not of that form, no such metric (the message lists them), or nothing that could ever hold.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise BadExpression(f"{option} {text!r}: write METRIC, one of {' '.join(OPERATORS)}, NUMBER: 'max_steps>1'")
    if match[1] not in METRICS and not own:
        raise BadExpression(f"{option} {text!r}: no metric {match[1]!r}; there are {', '.join(METRICS)}")
    condition = Condition(match[1], match[2], float(match[3]))
    sign, bound = BOUNDS.get(condition.metric, ("", 0.0))
    if condition.sign == sign and not OPERATORS[sign](bound, condition.limit):
        raise BadExpression(f"{option} {text!r}: nothing can be beyond; the scale of {match[1]} ends at {bound:g}")
    return condition


def limit(metric: str, value: float) -> Condition:
    """The condition that ``metric`` is beyond ``value``: above it for errors, below it for ``sqnr_db`` and the like.

    Raises:
        TypeError: no such metric; the message lists them.
        ValueError: a limit that nothing can break: it would assert nothing.
    """
    if metric not in BOUNDS:
        raise TypeError(f"no metric {metric!r} to set a limit on; there are {', '.join(BOUNDS)}")
    sign, bound = BOUNDS[metric]
    if not OPERATORS[sign](bound, value):
        raise ValueError(f"{metric}={value}: nothing can break this limit; its scale ends at {bound:g}")
    return Condition(metric, sign, float(value))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one condition says of one comparison: the ``value`` of its metric, and whether that makes them different."""

    comparison: Comparison
    condition: Condition
    value: float
    different: bool

    @property
    def says(self) -> str:
        """``max_steps is 3``."""
        tolerance = f" at tolerance {self.comparison.tolerance:g}" if self.condition.metric == "not_close" else ""
        return f"{self.condition.metric} is {self.value:g}{tolerance}"

    @property
    def beyond(self) -> float:
        """How far the value lies from the limit."""
        return abs(self.value - self.condition.limit)


def judge(comparison: Comparison, conditions: tuple[Condition, ...]) -> tuple[Judgement, ...]:
    """Every condition asked of the comparison; without conditions, whether outputs are close.

    Raises:
        BadExpression: a metric has no value here (no integer grid, no classes).
    """
    return tuple(_judge(comparison, condition) for condition in conditions or (CLOSE,))


def _judge(comparison: Comparison, condition: Condition) -> Judgement:
    value = value_of(comparison, condition.metric)
    if value is None:
        raise BadExpression(
            f"{condition}: {condition.metric} has no value for {comparison.reference} vs {comparison.candidate}; "
            "choose another metric"
        )
    return Judgement(comparison, condition, value, bool(OPERATORS[condition.sign](value, condition.limit)))


def value_of(comparison: Comparison, metric: str) -> float | None:
    """A figure by its name; of the user's own numbers the candidate's, or ``NAME_difference`` from the reference's.

    Raises:
        BadExpression: no such name; the message lists them.
    """
    if metric in METRICS:
        return cast("float | None", getattr(comparison.figures, metric))
    own = {each.name: each.candidate for each in comparison.own}
    own |= {f"{each.name}_difference": each.difference for each in comparison.own}
    if metric not in own:
        raise BadExpression(f"no metric {metric!r}; there are {', '.join((*METRICS, *own))}")
    return own[metric]


def reasons(comparison: Comparison, conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    """Why the two count as different, nothing where they count as the same.

    They differ where a condition holds or, without conditions, where outputs are not close.
    """
    # Every condition is asked, so that none hides that another one cannot be answered.
    judged = [each for each in judge(comparison, conditions) if each.different]
    return tuple(each.says if each.condition is CLOSE else f"{each.condition} ({each.says})" for each in judged)
