"""What counts as different: ``--fail-on 'max_steps>1'``."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, fields

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

    def holds(self, comparison: Comparison) -> bool:
        """Whether the comparison differs in the sense of this condition.

        Raises:
            BadExpression: the metric has no value here (no integer grid, no classes).
        """
        value = getattr(comparison.figures, self.metric)
        if value is None:
            raise BadExpression(
                f"--fail-on {self}: {self.metric} has no value for {comparison.reference} vs {comparison.candidate}; "
                "choose another metric"
            )
        return bool(OPERATORS[self.sign](value, self.limit))


def parse(text: str) -> Condition:
    """Read one expression such as ``not_close>0.02``.

    Raises:
        BadExpression: not of that form, or no such metric; the message lists the metrics.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise BadExpression(f"--fail-on {text!r}: write METRIC, one of {' '.join(OPERATORS)}, NUMBER: 'max_steps>1'")
    if match[1] not in METRICS:
        raise BadExpression(f"--fail-on {text!r}: no metric {match[1]!r}; there are {', '.join(METRICS)}")
    return Condition(match[1], match[2], float(match[3]))


def reasons(comparison: Comparison, conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    """Why the two count as different, nothing where they count as the same.

    They differ where a condition holds or, without conditions, where outputs are not close.
    """
    if not conditions:
        figures = comparison.figures
        return () if figures.passed else (f"not_close is {figures.not_close:g} at tolerance {comparison.tolerance:g}",)
    # Every condition is asked, so that none hides that another one cannot be answered.
    held = [condition for condition in conditions if condition.holds(comparison)]
    return tuple(
        f"{condition} ({condition.metric} is {getattr(comparison.figures, condition.metric):g})" for condition in held
    )
