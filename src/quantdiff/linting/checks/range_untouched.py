"""Ranges that training never touched."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.reference import Reference
from quantdiff.linting.registry import check

START = -6.0, 6.0
"""Where TFMOT's LastValueQuantizer and MovingAverageQuantizer begin."""


@check("QAT01", Severity.ERROR, Reference)
def range_untouched(reference: Reference) -> Iterator[Found]:
    """A range of the quantization-aware model is exactly as it was created.

    It was never updated: the model was saved before training, the layer was frozen, or it ran with training=False.
    The file was made with a scale that has nothing to do with the data. Train (a few hundred steps at least) and
    convert again.
    """
    for learned in reference.ranges():
        if (learned.low, learned.high) == START:
            yield Found(learned.place, "-6 and 6, the values at the start")
