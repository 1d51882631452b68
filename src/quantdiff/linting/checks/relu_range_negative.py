"""Ranges of a ReLU's output that reach below 0."""

from __future__ import annotations

import math
from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.reference import Reference
from quantdiff.linting.registry import check

START, DECAY = 6.0, 0.999
TOLERATED = 0.05


@check("QAT03", Severity.WARNING, Reference)
def relu_range_negative(reference: Reference) -> Iterator[Found]:
    """The learned range of a ReLU's output reaches below 0.

    A ReLU gives nothing negative: these codes are lost. The moving average started at -6 and is not done; it halves
    every 693 steps. Every other range of the model is as young. Train for some 5,000 steps in all (smaller batches
    count), or begin with ranges from calibration.
    """
    for learned in reference.ranges():
        lost = -learned.low / (learned.high - learned.low) if learned.high > learned.low else 0.0
        if learned.behind_relu and lost > TOLERATED and learned.low > -START:
            steps = math.log(-learned.low / START) / math.log(DECAY)
            evidence = f"{learned.low:.4g} to {learned.high:.4g}: {lost:.1%} of the codes; as after {steps:.0f} steps"
            yield Found(learned.place, evidence)
