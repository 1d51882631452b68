"""What counts as different: ``--fail-on 'max_steps>1'``, ``'max_steps@conv2d>1'``, or ``max_steps=1`` in a test."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, fields
from math import inf

from quantdiff.compare.comparison import Figures
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.errors import BadExpression

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
