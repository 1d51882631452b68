"""A model that was prepared for quantization-aware training, and trained without it."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity, counted
from quantdiff.linting.reference import Reference
from quantdiff.linting.registry import check


@check("QAT04", Severity.ERROR, Reference)
def annotated_only(reference: Reference) -> Iterator[Found]:
    """The reference is annotated for quantization, but quantize_apply was never called.

    QuantizeAnnotate only marks layers. Without `tfmot.quantization.keras.quantize_apply(model)` the model trained in
    float, and the file was quantized after training like any other. Apply, then train.
    """
    marked = [layer for layer in reference.layers if type(layer).__name__ == "QuantizeAnnotate"]
    if marked and reference.keras.kind != "qat":
        yield Found(reference.place(marked[0]), f"{counted(len(marked), 'annotated layer')}, none quantized")
