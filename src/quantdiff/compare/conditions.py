"""What counts as different: ``--fail-on 'max_steps>1'``, ``'max_steps@conv2d>1'``, or ``max_steps=1`` in a test."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from math import inf
from typing import cast

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
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
LOCAL = "local_"  # before a metric: of the layer alone
LAYER_METRICS = tuple(field.name for field in fields(LayerFigures))
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
    r"\s*(\w+)(?:@([^<>=!]*[^<>=!\s]))?\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|inf))\s*",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """``metric``, a comparison sign, a limit: the models differ where this holds.

    ``layer`` is a name or a shell pattern of layers whose metric it is; empty for the outputs.
    """

    metric: str
    sign: str
    limit: float
    layer: str = ""

    def __str__(self) -> str:
        return f"{self.metric}{'@' * bool(self.layer)}{self.layer}{self.sign}{self.limit:g}"


CLOSE = Condition("not_close", ">", 0.0)
"""What counts as different where nothing is asked: any output beyond the tolerance."""


def parse(text: str, option: str = "--fail-on", *, own: bool = False) -> Condition:
    """Read one expression such as ``not_close>0.02``, or ``max_steps@conv2d>1`` of a layer.

    With ``own`` the user's metric may have other names.

    Raises:
        BadExpression: not of that form, no such metric (the message lists them), or nothing that could ever hold.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise BadExpression(f"{option} {text!r}: write METRIC, one of {' '.join(OPERATORS)}, NUMBER: 'max_steps>1'")
    of_layers = match[2] is not None
    metrics = (*LAYER_METRICS, *(LOCAL + name for name in LAYER_METRICS)) if of_layers else METRICS
    if match[1] not in metrics and (of_layers or not own):
        raise BadExpression(f"{option} {text!r}: no metric {match[1]!r}; there are {', '.join(metrics)}")
    condition = Condition(match[1], match[3], float(match[4]), match[2] or "")
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
    """What one condition says of one comparison: the ``value`` of its metric, and whether that makes them different.

    ``layer`` is the reference's name of the layer that it speaks of; empty for the outputs.
    """

    comparison: Comparison
    condition: Condition
    value: float
    different: bool
    layer: str = ""

    @property
    def says(self) -> str:
        """``max_steps is 3``, ``max_steps is 3 at conv2d``."""
        tolerance = f" at tolerance {self.comparison.tolerance:g}" if self.condition.metric == "not_close" else ""
        return f"{self.condition.metric} is {self.value:g}{tolerance}" + (f" at {self.layer}" if self.layer else "")

    @property
    def beyond(self) -> float:
        """How far the value lies from the limit."""
        return abs(self.value - self.condition.limit)


def judge(
    comparison: Comparison, conditions: tuple[Condition, ...], layers: Sequence[LayerReport] = ()
) -> tuple[Judgement, ...]:
    """Every condition asked of the comparison, or of its ``layers``; without conditions, whether outputs are close.

    Raises:
        BadExpression: a metric has no value here (no integer grid, no classes), or no layer has such a name.
    """
    return tuple(
        judgement
        for condition in conditions or (CLOSE,)
        for judgement in (
            _judge_layers(comparison, condition, layers) if condition.layer else [_judge(comparison, condition)]
        )
    )


def _judge(comparison: Comparison, condition: Condition) -> Judgement:
    value = value_of(comparison, condition.metric)
    if value is None:
        raise BadExpression(
            f"{condition}: {condition.metric} has no value for {comparison.reference} vs {comparison.candidate}; "
            "choose another metric"
        )
    return _judged(comparison, condition, value)


def _judged(comparison: Comparison, condition: Condition, value: float, layer: str = "") -> Judgement:
    return Judgement(comparison, condition, value, bool(OPERATORS[condition.sign](value, condition.limit)), layer)


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


def _judge_layers(comparison: Comparison, condition: Condition, reports: Sequence[LayerReport]) -> Iterator[Judgement]:
    pair = comparison.reference, comparison.candidate
    layers = [layer for report in reports if (report.reference, report.candidate) == pair for layer in report.layers]
    meant = [layer for layer in layers if _is_meant(layer, condition.layer)]
    if not meant:
        there = ", ".join(layer.reference for layer in layers) or "none"
        raise BadExpression(f"{condition}: no layer {condition.layer!r}; there are {there}")
    known = [(layer, value) for layer in meant if (value := _value(layer, condition.metric)) is not None]
    if not known:
        raise BadExpression(f"{condition}: {condition.metric} has no value for {meant[0].reference}; choose another")
    yield from (_judged(comparison, condition, value, layer.reference) for layer, value in known)


def _is_meant(layer: LayerResult, pattern: str) -> bool:
    """By its path in the reference, the last part of it, or the name of the tensor that it became."""
    names = layer.reference, layer.reference.rpartition("/")[2], layer.layer, layer.candidate
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _value(layer: LayerResult, metric: str) -> float | None:
    figures = layer.local if metric.startswith(LOCAL) else layer.figures
    value: float | None = None if figures is None else getattr(figures, metric.removeprefix(LOCAL))
    return value


def reasons(judgements: Sequence[Judgement]) -> tuple[str, ...]:
    """Why the two count as different, nothing where they count as the same."""
    judged = [each for each in judgements if each.different]
    return tuple(each.says if each.condition is CLOSE else f"{each.condition} ({each.says})" for each in judged)
