"""What to change in a quantized file, the trained model written as its file has it, and the files that carry it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from quantdiff.align.models import align_pair
from quantdiff.api.comparisons import Names, check_inputs, laid_out
from quantdiff.api.engines import (
    DEFAULTS,
    OpenedPair,
    Settings,
    Source,
    name_of,
    open_model,
    open_pair,
    trace_first,
    trace_one,
)
from quantdiff.api.parts import answers, anywhere_settings, undivided
from quantdiff.api.shards import TRACED
from quantdiff.compare.comparison import settle
from quantdiff.compare.conditions import Condition
from quantdiff.compare.own_metric import Metric
from quantdiff.errors import BadModel, UnsupportedOp
from quantdiff.files import scratch
from quantdiff.ladder.advice.advised import Advised, Tried, advised, holds
from quantdiff.ladder.advice.bench import Bench, Now, Task, noise
from quantdiff.ladder.advice.planned import planned
from quantdiff.ladder.advice.plans import (
    IN_A_DENYLIST,
    IN_A_RECIPE,
    IN_THE_FILE,
    INPUT,
    OUTPUT,
    Counted,
    Rows,
    made,
    tried_on,
)
from quantdiff.ladder.advice.recipe import denylist, names_of, recipe
from quantdiff.ladder.advice.settled import settling
from quantdiff.ladder.cures import reference_with
from quantdiff.ladder.rungs import by_run
from quantdiff.ladder.set_up import check_related, order_of_outputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch, bind
from quantdiff.load.npz import at_once
from quantdiff.quant import Trace
from quantdiff.references.reference import Reference, Settles
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.report.folder import written
from quantdiff.report.json.text import json_text
from quantdiff.run.data_in_parts import InParts, Part, count_of, cut, first_of
from quantdiff.run.inputs import Reach, inputs_of, load_data, warnings_of
from quantdiff.run.runner import Progress, Runner, silent, started
from quantdiff.run.runtimes import check_takes_others, versions

HELD = 2**28
"""Bytes of outputs that are kept between two questions; those of further parts are computed again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of advice.

    Attributes:
        until: what the outputs must keep, such as ``top1_agreement>=0.999``.
        recipe: where the recipe for litert-quantizer goes.
        denylist: where the denylist for TensorFlow's converter goes.
        out: where the mended file goes; an ``.h5``: the trained model as the file has it.
    """

    until: tuple[Condition, ...] = ()
    recipe: Path | None = None
    denylist: Path | None = None
    out: Path | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of choices that the files asked for can take; all where none is asked for."""
        asked = ((self.recipe, IN_A_RECIPE), (self.denylist, IN_A_DENYLIST), (self.out, IN_THE_FILE))
        kinds = dict.fromkeys(kind for path, some in asked if path for kind in some)
        return tuple(kinds) or (*IN_A_RECIPE, *IN_THE_FILE)


def advise(
    reference: Source,
    candidate: Source,
    data: str | Path | Batch | InParts,
    wanted: Wanted = Wanted(),
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
) -> Advised:
    """Rank what could be kept finer by what it buys, find the smallest set that is enough, write the files.

    Ctrl-C ends the search, not the call: the best so far is given, and nothing is written.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or a ``.tflite``.
        candidate: the ``.tflite`` made from it.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units; or
            ``InParts``, many of these, and who works on them. Its models are files.
        wanted: what the outputs must keep, and which files are wanted.
        settings: the first runtime counts.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        Every choice with what it is predicted to do, the set, what was written and, for a mended file, measured.

    Raises:
        QuantdiffError: a model or the data cannot be used, a metric fails or has no value, a file cannot be written.
    """
    check_takes_others(settings.runtimes[:1], "advise")
    settings, files = replace(settings, runtimes=settings.runtimes[:1]), (reference, candidate)
    parts = data if isinstance(data, InParts) else InParts((load_data(data, candidate),))
    sources = parts.sources
    trained = wanted.out if wanted.out is not None and wanted.out.suffix == TRAINED else None
    if trained is not None and (parts.on is not None or wanted.recipe is not None or wanted.denylist is not None):
        raise BadModel(f"{trained}: a trained model is written without --recipe, --denylist, --jobs and --dask")
    if parts.on is not None:
        files, settings = (Path(reference).resolve(), Path(candidate).resolve()), anywhere_settings(settings)
    question = AdviceQuestion(*files, settings, first_of(sources), Now())
    with question.opened() as ready:
        whole = cut(sources, ready.grain if isinstance(data, InParts) else count_of(sources))
        told = progress if len(whole) > 1 else silent

        def ask(task: Task[Any]) -> Any:
            return reduce(add, answers(replace(question, task=task), replace(ready, task=task), whole, parts.on, told))

        bench, reach = _bench(ready, whole[0].total, ask, wanted)
        source = parts.named if len(sources) > 1 else question.first.source
        notes = (*ready.names.told, *warnings_of(reach, source))
        if trained is not None:
            first = ready.names.of(question.first).part(slice(ALIGNED_ON))
            found = settled(bench, (ready.engine, ready.pair), first, (trained, wanted.until), settings)
        else:
            found = _searched(bench, wanted, progress)
        made_by = {"command": "advise", "samples": bench.samples, "versions": versions()}
        artifacts = {"reference": name_of(reference), "candidate": name_of(candidate), "data": source}
        found = replace(found, notes=(*notes, *found.notes), made_by=made_by, artifacts=artifacts)
        to_write = trained is None and found.complete and found.met
        return _written(bench, ready.pair, found, wanted) if to_write else found


@dataclass(frozen=True, slots=True)
class ReadyAdvice:
    """Both models, open, and the ``task``: what is asked of every sample.

    ``held``: by the number of a part's first sample what both models gave.
    """

    pair: OpenedPair
    engine: Reference
    trials: Runner
    settings: Settings
    grain: int
    metric: Metric | None
    names: Names
    task: Task[Any]
    held: dict[int, tuple[Trace, Trace]]

    @property
    def undivided(self) -> str:
        """Why the data cannot be parted; empty where they can."""
        return undivided(self.pair)

    def answer(self, part: Part, progress: Progress) -> Any:
        """What the samples of a part say."""
        batch, model = self.names.of(part.read()), self.pair.candidate.wanted("advise")
        reference, candidate = self._traces(part.first, batch)
        own, settings = self.pair.processes[0], self.settings
        rows = Rows(model, batch, part.first, reference, candidate, self.trials, own, settings.tolerance, self.metric)
        found = self.task.answer(rows)
        progress("samples", len(part), part.total)
        return found

    def _traces(self, first: int, batch: Batch) -> tuple[Trace, Trace]:
        """What both models give, kept for the next question as far as memory goes."""
        if first in self.held:
            return self.held[first]
        model, process = self.pair.candidate.wanted("advise"), self.pair.processes[0]
        found = trace_one(self.engine, batch, silent), trace_tflite(model, batch, process)
        if not self.held or sum(_size(each) for each in (found, *self.held.values())) <= HELD:
            self.held[first] = found
        return found


def _size(traces: tuple[Trace, Trace]) -> int:
    return sum(value.array.nbytes for trace in traces for value in trace.outputs)


@dataclass(frozen=True, slots=True)
class AdviceQuestion:
    """A task for every sample; the ``first`` ones tell which engine runs the reference and what belongs to what."""

    reference: Source
    candidate: Source
    settings: Settings
    first: Batch = field(repr=False)
    task: Task[Any]

    @contextmanager
    def opened(self) -> Iterator[ReadyAdvice]:
        """Open both; raises as ``advise``."""
        settings, metric = self.settings, self.settings.own_metric
        with open_pair(self.reference, self.candidate, settings, self.first) as both:
            names, _ = check_inputs(both, self.first)
            first = names.of(self.first)
            pair = laid_out(both, first, settings.layouts)
            engine, _, _ = trace_first(pair.reference, first, silent)
            grain = TRACED * at_once(bind(first, engine.inputs, engine.name))
            with started(tried_on(settings.runtimes[0]), settings.timeout, reused=True) as trials:
                yield ReadyAdvice(pair, engine, trials, settings, grain, metric, names, self.task, {})


def _searched(bench: Bench, wanted: Wanted, progress: Progress) -> Advised:
    latest: Advised | None = None
    try:
        for found in advised(bench, wanted.until, wanted.kinds, progress, choose=wanted.out is not None):
            latest = found
    except KeyboardInterrupt:
        if latest is None:
            raise
    assert latest is not None
    return latest


def _bench(
    ready: ReadyAdvice, samples: int, ask: Callable[[Task[Any]], Any], wanted: Wanted
) -> tuple[Bench, tuple[Reach, ...]]:
    model, lowering = ready.pair.candidate.wanted("advise"), ready.engine.lower()
    if lowering is None:
        raise BadModel(f"{ready.pair.reference.source}: has no graph of operators; there is no advice without one")
    try:
        found = switches(model, lowering)
    except UnsupportedOp as error:
        raise BadModel(f"{ready.pair.candidate.source}: no advice without real arithmetic: {error}") from error
    check_related(found)
    ends = frozenset[int]() if wanted.denylist is None else frozenset((INPUT, OUTPUT))  # the debugger leaves them
    known = ask(Now())
    return Bench(found, model.whole(), samples, settle(*known.each), ask, ends), known.reaches


def _written(bench: Bench, pair: OpenedPair, found: Advised, wanted: Wanted) -> Advised:
    """The files that carry the set out. A mended file is run; one that is not better is not written."""
    if found.chosen is None or not found.chosen.choices:
        why = "the file is good enough as it is" if found.until else "no bias and no range makes the file better"
        asked = (path for path in (wanted.recipe, wanted.denylist, wanted.out) if path is not None)
        return replace(found, notes=(*found.notes, *(f"{path} was not written: {why}" for path in asked)))
    choices, names = found.chosen.choices, names_of(bench.switches, float_file=pair.reference.file is not None)
    files, notes = dict[str, str](), list[str]()
    if wanted.recipe is not None:
        with written(wanted.recipe) as file:
            file.write_text(json_text(recipe(bench.switches, choices, names, bench.ends)) + "\n", encoding="utf-8")
        files["recipe"] = str(wanted.recipe)
    if wanted.denylist is not None:
        with written(wanted.denylist) as file:
            file.write_text(json_text(denylist(bench.switches, choices, names)) + "\n", encoding="utf-8")
        files["denylist"] = str(wanted.denylist)
    if wanted.out is None:
        return replace(found, files=files)
    content = planned(bench.content, [made(bench.switches, choices)], ends=True).content
    measured = bench.measured(content)
    if noise(measured) < noise(found.now):
        with written(wanted.out) as file:
            file.write_bytes(content)
        files["out"] = str(wanted.out)
    else:
        notes.append(f"{wanted.out} was not written: on {pair.processes[0].runtime} it is not better than the file")
    return replace(found, files=files, measured=measured, notes=(*found.notes, *notes))


TRAINED = ".h5"
ALIGNED_ON = 64


@dataclass(frozen=True, slots=True)
class _Settled:
    """The reference with some biases and grids as the file has them, in the account's arithmetic."""

    switches: Switches
    held: tuple[Sequence[int], Sequence[int]]

    def answer(self, rows: Rows) -> Counted:
        """Beside the file."""
        runs = len(inputs_of(rows.model, rows.batch)[0])
        outputs = [by_run(value.array, runs) for value in rows.candidate.outputs]
        order = order_of_outputs(rows.reference, rows.model, outputs, "the .tflite")
        then, _ = reference_with(self.switches, rows.batch, rows.reference, order, self.held)
        return Counted((rows.beside(then),))


@dataclass(frozen=True, slots=True)
class _Again:
    """A reference that was written and opened again."""

    reference: Reference

    def answer(self, rows: Rows) -> Counted:
        """Beside the file."""
        return Counted((rows.beside(trace_one(self.reference, rows.batch, silent)),))


def settled(
    bench: Bench,
    pair: tuple[Reference, OpenedPair],
    first: Batch,
    wanted: tuple[Path, tuple[Condition, ...]],
    settings: Settings,
) -> Advised:
    """Give a quantization-aware model the biases and ranges of its file, and write it where that helps.

    It is opened again and run: what was promised stands beside what was measured.

    Args:
        bench: the pair and its data, in this process.
        pair: the engine of the trained model, and both models.
        first: samples that tell which layer is which tensor.
        wanted: where the model goes, and what must hold.
        settings: how a trained model is opened.

    Raises:
        BadModel: the reference is no quantization-aware Keras model, or Keras cannot write it.
    """
    (engine, opened), (out, until) = pair, wanted
    if engine.kind != "qat" or not isinstance(engine, Settles):
        why = "is no quantization-aware Keras model, which alone has biases and ranges to settle"
        raise BadModel(f"{opened.reference.source}: {why}; --out FILE.tflite mends the file")
    alignment = align_pair(engine, opened.candidate.engines[0], first)
    found = settling(bench.switches, engine.layers(), alignment)
    held = [i for c in found.choices for i in c.constants], [i for c in found.choices for i in c.grids]
    predicted = settle(*bench.ask(_Settled(bench.switches, held)).each)
    holds(bench.now, until)
    chosen = Tried(found.choices, predicted)
    told = Advised(bench.now, bench.now, (), chosen, until, considered=len(found.choices), complete=True)
    if not found.choices:
        return replace(told, notes=(f"{out} was not written: its biases and ranges are those of the file",))
    if not told.met:
        return told
    content = engine.settled(found.variables).tobytes()
    with scratch() as folder, ExitStack() as stack:
        (folder / out.name).write_bytes(content)
        again = open_model(folder / out.name, settings, (), first, stack)
        measured = settle(*bench.ask(_Again(again.engines[0])).each)
    if not noise(measured) < noise(bench.now):
        note = f"{out} was not written: it is not nearer to the file than {opened.reference.source}"
        return replace(told, measured=measured, notes=(note,))
    with written(out) as file:
        file.write_bytes(content)
    return replace(told, files={"out": str(out)}, measured=measured)
