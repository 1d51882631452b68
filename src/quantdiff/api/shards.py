"""Two models on a data set in parts, here or anywhere: the figures are the same to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from operator import add
from pathlib import Path

from quantdiff.align.alignment import Alignment
from quantdiff.align.models import align_models
from quantdiff.api.comparisons import ITS_OWN, Names, check_inputs, laid_out
from quantdiff.api.engines import (
    DEFAULTS,
    OpenedPair,
    Ran,
    Settings,
    failure_of,
    open_pair,
    trace_everywhere,
    trace_first,
    trace_one,
)
from quantdiff.api.parts import anywhere_settings, ask, undivided
from quantdiff.compare.layers.figures import SLICES, LayerCounts, Share, watch_pairs
from quantdiff.compare.layers.report import Drawing, LayerReport, drawing_of, ends_of, helpers_note, report_of
from quantdiff.compare.outcome import Failure, Outcome, outcome_of, part_of
from quantdiff.compare.outcome import Part as Counted
from quantdiff.compare.own_metric import Metric
from quantdiff.errors import RuntimeFailed
from quantdiff.load.data import Batch, bind
from quantdiff.load.npz import at_once
from quantdiff.quant import Trace
from quantdiff.recording import BoundModel, Recorder, bound
from quantdiff.references.reference import Reference
from quantdiff.run.data_in_parts import InParts, Part, first_of
from quantdiff.run.inner_tensors import disturbed
from quantdiff.run.inputs import Reach, reaches, warnings_of
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import versions

TRACED = 16
"""Slices of the reference in a part: runtimes read their files again for each part."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What some samples showed: figures, how far they reach, each engine's layers, and the runtimes that failed."""

    counted: Counted
    reaches: tuple[Reach, ...]
    layers: tuple[tuple[str, LayerCounts], ...]
    failures: tuple[Failure, ...]

    def __add__(self, other: Examined) -> Examined:
        """Both together; raises ``NotComparable`` as their figures do."""
        theirs = dict(other.layers)
        return Examined(
            self.counted + other.counted,
            tuple(map(add, self.reaches, other.reaches)),
            tuple((engine, ours + theirs[engine]) for engine, ours in self.layers if engine in theirs),
            tuple(dict.fromkeys(self.failures + other.failures)),
        )


@dataclass(frozen=True, slots=True)
class Watched:
    """An engine of the candidate with its inner values, and how they go with the reference's."""

    engine: Reference
    recorder: Recorder
    alignment: Alignment
    drawing: Drawing | None = None


@dataclass(frozen=True, slots=True)
class ReadyDiff:
    """Both models, open; the reference on the engine that runs it."""

    pair: OpenedPair
    reference: Reference
    settings: Settings
    grain: int
    metric: Metric | None = None
    recorder: Recorder | None = None
    watched: tuple[Watched, ...] = ()
    failures: tuple[Failure, ...] = ()
    names: Names = ITS_OWN

    @property
    def undivided(self) -> str:
        """Why the data cannot be parted; empty where they can."""
        return undivided(self.pair)

    def answer(self, part: Part, progress: Progress) -> Examined:
        """Everything that the samples of a part show."""
        batch, settings, file = self.names.of(part.read()), self.settings, self.pair.candidate.file
        first = trace_one(self.reference, batch, progress)
        ran, failures = trace_everywhere(self.pair.candidate, batch, progress)
        found, without = self._layers(part, batch, (first, {engine.kind: trace for engine, trace in ran}), progress)
        candidates = tuple(trace for _, trace in ran)
        if first.engine in {trace.engine for trace in candidates}:
            first = replace(first, engine=f"reference:{first.engine}")
        counted = part_of(
            (first,), candidates, batch.labels, settings.tolerance, self.metric, channels=settings.channels
        )
        reach = () if file is None else reaches(file, batch)
        return Examined(counted, reach, found, self.failures + failures + without)

    def _layers(
        self, part: Part, batch: Batch, traces: tuple[Trace, dict[str, Trace]], progress: Progress
    ) -> tuple[tuple[tuple[str, LayerCounts], ...], tuple[Failure, ...]]:
        found, failures = [], []
        for each in self.watched:
            if self.recorder is None or each.engine.kind not in traces[1]:
                continue
            sides = (
                bound(self.reference, self.recorder, batch, traces[0]),
                bound(each.engine, each.recorder, batch, traces[1][each.engine.kind]),
            )
            try:
                found.append((each.engine.kind, count_layers(each.alignment, sides, part.first, part.total, progress)))
            except RuntimeFailed as error:
                failures.append(failure_of(each.engine, error, LAYERED))
        return tuple(found), tuple(failures)


LAYERED = "layer by layer: "


@dataclass(frozen=True, slots=True)
class DiffQuestion:
    """How far two models are apart, with ``layers`` layer by layer; ``first`` samples tell which value is which."""

    reference: Path
    candidate: Path
    settings: Settings
    layers: bool
    first: Batch = field(repr=False)

    @contextmanager
    def opened(self) -> Iterator[ReadyDiff]:
        """Open both.

        Raises:
            QuantdiffError: a model cannot be read, does not fit the data, or the reference cannot run.
        """
        metric, first = self.settings.own_metric, self.first
        with open_pair(self.reference, self.candidate, self.settings, first) as both, ExitStack() as opened:
            names, _ = check_inputs(both, first)
            first = names.of(first)
            pair = laid_out(both, first, self.settings.layouts)
            engine, trace, unfit = trace_first(pair.reference, first, silent)
            grain = TRACED * at_once(bind(first, engine.inputs, engine.name))
            ready = ReadyDiff(pair, engine, self.settings, grain, metric, failures=unfit, names=names)
            yield _watching(ready, first, trace, opened) if self.layers else ready


def _watching(ready: ReadyDiff, first: Batch, trace: Trace, opened: ExitStack) -> ReadyDiff:
    """With every engine's inner values, as far as it shows them."""
    ran, failures = trace_everywhere(ready.pair.candidate, first, silent)
    recorder, watched = opened.enter_context(ready.reference.recorder()), list[Watched]()
    ours = bound(ready.reference, recorder, first, trace)
    for engine, own in ran:
        try:
            theirs = opened.enter_context(engine.recorder())
            shown = bound(engine, theirs, first, own)
            alignment = align_models(ours, shown)
            watched.append(Watched(engine, theirs, alignment, drawing_of(alignment, ours, shown)))
        except RuntimeFailed as error:
            failures += (failure_of(engine, error, LAYERED),)
    # One size for all of them, so that all parts are the same ones.
    grain = min((each.alignment.at_once for each in watched), default=ready.grain)
    watched = [replace(each, alignment=replace(each.alignment, at_once=grain)) for each in watched]
    return replace(
        ready, recorder=recorder, watched=tuple(watched), grain=SLICES * grain, failures=ready.failures + failures
    )


def diff_in_parts(
    reference: str | Path,
    candidate: str | Path,
    data: InParts,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    *,
    layers: bool = False,
) -> Outcome:
    """As ``diff`` of data that are read as they are needed, so that memory does not grow with them.

    Counts and sums of the parts are exact, so that the outcome does not depend on who examined which.

    Raises:
        QuantdiffError: as ``diff``; or workers with other versions than this process.
    """
    sources, paths = data.sources, (Path(reference), Path(candidate))
    if data.on is not None:
        paths, settings = (paths[0].resolve(), paths[1].resolve()), anywhere_settings(settings)
    question = DiffQuestion(*paths, settings, layers, first_of(sources))
    whole = ask(question, sources, data.on, progress)
    found, ready = whole.answer, whole.ready
    shards = {"shards": len(sources)} if len(sources) > 1 else {}
    source = question.first.source
    return replace(
        outcome_of(found.counted),
        failures=found.failures,
        layers=_reports(found, ready),
        warnings=ready.names.told + (() if ready.pair.candidate.file is None else warnings_of(found.reaches, source)),
        made_by={"command": "diff", "samples": whole.samples, **shards, "versions": versions()},
        artifacts={
            "reference": str(reference),
            "candidate": str(candidate),
            "data": data.named if len(sources) > 1 else source,
        },
    )


def _reports(found: Examined, ready: ReadyDiff) -> tuple[LayerReport, ...]:
    """What was counted of the layers, under the names of the matches."""
    watched = {each.engine.kind: each for each in ready.watched}
    reports = [
        layer_report(watched[engine].alignment, counts, watched[engine].drawing) for engine, counts in found.layers
    ]
    first = {comparison.reference for comparison in found.counted.counts}
    return tuple(replace(report, reference=next(iter(first), report.reference)) for report in reports)


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
