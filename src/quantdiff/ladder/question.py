"""What is asked: why a file on a runtime gives other outputs than its reference, on some data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class Question:
    """The reference as its engine runs it and as a float graph, the file, and the data.

    ``trace`` gives the reference's own outputs for samples; ``kind`` is its engine: ``float``, ``qat``,
    ``tflite:xnnpack``. ``lowering`` is the reference as TFLite operators, None where that cannot be had:
    ``why`` says so. Outputs
    without a grid count as equal within ``tolerance``, in real units. ``single``: a sample and an element of the
    outputs, all counted through, whose difference is listed. ``names``: by tensor of the file the reference's layer.
    """

    kind: str
    trace: Callable[[Batch], Trace]
    lowering: Model | None
    model: Model
    batch: Batch
    tolerance: float
    notes: tuple[str, ...] = ()
    single: tuple[int, int] | None = None
    why: str = ""
    names: Mapping[int, str] = field(default_factory=dict)
