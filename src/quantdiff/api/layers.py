"""Two models on the same data, layer by layer."""

from __future__ import annotations

from dataclasses import replace

from quantdiff.align.alignment import Alignment
from quantdiff.align.models import align_models
from quantdiff.api.engines import Ran, failure_of
from quantdiff.compare.layers.drawing import Drawing, drawing_of
from quantdiff.compare.layers.report import LayerReport, ends_of, helpers_note, report_of
from quantdiff.compare.layers.watch import LayerCounts, Share, watch_pairs
from quantdiff.compare.outcome import Failure
from quantdiff.errors import RuntimeFailed
from quantdiff.load.data import Batch
from quantdiff.progress import Progress
from quantdiff.recording import BoundModel, bound
from quantdiff.references.reference import Reference
from quantdiff.run.inner_tensors import disturbed
from quantdiff.trace import Trace


def compare_layers(
    reference: BoundModel, candidate: BoundModel, progress: Progress, alignment: Alignment | None = None
) -> LayerReport:
    """Every aligned pair of two watched models."""
    alignment, count = alignment or align_models(reference, candidate), len(reference)
    counts = count_layers(alignment, (reference, candidate), 0, count, progress)
    return layer_report(alignment, counts, drawing_of(alignment, reference, candidate))


def count_layers(
    alignment: Alignment, sides: tuple[BoundModel, BoundModel], first: int, total: int, progress: Progress
) -> LayerCounts:
    """Every aligned pair on the samples that both sides are bound to, which begin with ``first`` of ``total``."""
    share = Share(first, total, frozenset() if alignment.unrelated else ends_of(alignment)[0])
    return watch_pairs(alignment, *sides, share, lambda done: progress("layers", done, len(sides[0])))


def layer_report(alignment: Alignment, counts: LayerCounts, drawing: Drawing | None) -> LayerReport:
    """Everything after the last sample."""
    notes = () if alignment.unrelated else (*helpers_note(alignment), *ends_of(alignment)[1])
    engines = alignment.reference.engine, alignment.candidate.engine
    shaken = (note for engine, many in zip(engines, counts.changed, strict=True) for note in disturbed(many, engine))
    return replace(report_of(alignment, counts, (*shaken, *notes)), drawing=drawing)


def layer_reports(
    reference: tuple[Reference, Trace], candidates: Ran, batch: Batch, progress: Progress
) -> tuple[tuple[LayerReport, ...], tuple[Failure, ...]]:
    """A report per engine of the candidate, and why one has none.

    The traces of both, as nobody watched, say what must not change.

    Raises:
        QuantdiffError: the data do not fit a model, or the reference does not run.
    """
    reports, failures = list[LayerReport](), list[Failure]()
    with reference[0].recorder() as ours:
        side = bound(reference[0], ours, batch, reference[1])
        for engine, trace in candidates:
            try:
                with engine.recorder() as theirs:
                    reports.append(compare_layers(side, bound(engine, theirs, batch, trace), progress))
            except RuntimeFailed as error:
                failures.append(failure_of(engine, error, "layer by layer: "))
    return tuple(reports), tuple(failures)
