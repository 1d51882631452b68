"""Quantization-aware training whose result the converter threw away."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Location, Severity
from quantdiff.linting.reference import Reference
from quantdiff.linting.registry import check


@check("QAT05", Severity.WARNING, Reference)
def qat_lost(reference: Reference) -> Iterator[Found]:
    """The reference is quantization-aware, but the file computes in float.

    The learned ranges are not in the file. Set `converter.optimizations = [tf.lite.Optimize.DEFAULT]`, and convert the
    quantization-aware model itself, not the float model that it was made from.
    """
    if reference.keras.kind == "qat" and not reference.file_is_quantized:
        yield Found(Location(str(reference.model.path or "model")), "no quantized activation in the file")
