"""What to change in a quantized file, and the files that carry it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.align.models import align_pair
from quantdiff.api.engines import DEFAULTS, OpenedPair, Settings, Source, open_model, open_pair, trace_first
from quantdiff.api.inputs import check_inputs
from quantdiff.api.layouts import laid_out
from quantdiff.compare.conditions import Condition
from quantdiff.compare.own_metric import metric_of
from quantdiff.errors import BadModel, UnsupportedOp
from quantdiff.graph import Model
from quantdiff.ladder.advice.advised import Advised, advised
from quantdiff.ladder.advice.bench import Bench, as_model, noise, tried_on
from quantdiff.ladder.advice.choices import IN_A_DENYLIST, IN_A_RECIPE, IN_THE_FILE, INPUT, OUTPUT, made
from quantdiff.ladder.advice.planned import planned
from quantdiff.ladder.advice.recipe import denylist, names_of, recipe
from quantdiff.ladder.advice.search import Tried, holds
from quantdiff.ladder.advice.settled import Settling, reference_with, settling
from quantdiff.ladder.slices import by_run
from quantdiff.ladder.switches import switches
from quantdiff.ladder.targets import order_of_outputs
from quantdiff.ladder.unrelated import check_related
from quantdiff.load.data import Batch
from quantdiff.progress import Progress, silent
from quantdiff.quant import Array
from quantdiff.references.reference import Settles
from quantdiff.report.folder import written
from quantdiff.report.plain import json_text
from quantdiff.run.data_sources import load_data
from quantdiff.run.in_process import started
from quantdiff.run.runtimes import check_takes_others
from quantdiff.run.scratch import scratch
from quantdiff.run.tflite import inputs_of, trace_tflite
from quantdiff.run.versions import versions

TRAINED = ".h5"
ALIGNED_ON = 64


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
    data: str | Path | Batch,
    wanted: Wanted = Wanted(),
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
) -> Advised:
    """Rank what could be kept finer by what it buys, find the smallest set that is enough, write the files.

    Ctrl-C ends the search, not the call: the best so far is given, and nothing is written.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or a ``.tflite``.
        candidate: the ``.tflite`` made from it.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``: samples along axis 0, in the reference's float units.
        wanted: what the outputs must keep, and which files are wanted.
        settings: the first runtime counts.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        Every choice with what it is predicted to do, the set, what was written and, for a mended file, measured.

    Raises:
        QuantdiffError: a model or the data cannot be used, a metric fails or has no value, a file cannot be written.
    """
    check_takes_others(settings.runtimes[:1], "advise")
    batch = load_data(data, candidate)
    alone = replace(settings, runtimes=settings.runtimes[:1])
    with open_pair(reference, candidate, alone, batch) as pair:
        names, told = check_inputs(pair, batch)
        batch = names.of(batch)
        turned = laid_out(pair, batch, settings.layouts)
        with _bench(turned, batch, settings, wanted) as bench:
            trained = wanted.out is not None and wanted.out.suffix == TRAINED
            settled, found = _settled(bench, turned, wanted) if trained else (None, _searched(bench, wanted, progress))
            made_by = {"command": "advise", "samples": len(batch), "versions": versions()}
            artifacts = {**pair.artifacts, "data": batch.source}
            found = replace(found, notes=(*told, *found.notes), made_by=made_by, artifacts=artifacts)
            if settled is not None:
                return _written_trained(bench, turned, found, (wanted, settings, settled))
            return _written(bench, turned, found, wanted) if found.complete and found.met else found


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


@contextmanager
def _bench(pair: OpenedPair, batch: Batch, settings: Settings, wanted: Wanted) -> Iterator[Bench]:
    model, process = pair.candidate.wanted("advise"), pair.processes[0]
    assert model.path is not None
    engine, first, _ = trace_first(pair.reference, batch, silent)
    lowering = engine.lower()
    if lowering is None:
        raise BadModel(f"{pair.reference.source}: has no graph of operators; there is no advice without one")
    try:
        found = switches(model, lowering)
    except UnsupportedOp as error:
        raise BadModel(f"{pair.candidate.source}: no advice without real arithmetic: {error}") from error
    check_related(found)
    ends = frozenset[int]() if wanted.denylist is None else frozenset((INPUT, OUTPUT))  # the debugger leaves them
    own, metric = trace_tflite(model, batch, process), metric_of(settings.metric)
    with started(tried_on(process.runtime), process.timeout, reused=True) as trials:
        yield Bench(found, model.whole(), batch, first, own, trials, settings.tolerance, metric, ends)


def _settled(bench: Bench, pair: OpenedPair, wanted: Wanted) -> tuple[Settling, Advised]:
    """What of the trained model is not as the file has it, and what becomes of the difference without that."""
    if wanted.recipe is not None or wanted.denylist is not None:
        raise BadModel(
            f"{wanted.out}: --out for a trained model goes without --recipe and --denylist: convert it again"
        )
    engine, switches = pair.reference.engines[0], bench.switches
    if engine.kind != "qat" or not isinstance(engine, Settles):
        why = "is no quantization-aware Keras model, which alone has biases and ranges to settle"
        raise BadModel(f"{pair.reference.source}: {why}; --out FILE.tflite mends the file")
    found = align_pair(engine, pair.candidate.engines[0], bench.batch.part(slice(ALIGNED_ON)))
    settled = settling(switches, engine.layers(), found)
    order = order_of_outputs(bench.reference, switches.model, _filed(bench, switches.model), "the .tflite")
    held = [i for c in settled.choices for i in c.constants], [i for c in settled.choices for i in c.grids]
    then, _ = reference_with(switches, bench.batch, bench.reference, order, held)
    now, predicted = (bench.beside(each) for each in (bench.reference, then))
    holds(now, wanted.until)
    chosen = Tried(settled.choices, predicted)
    return settled, Advised(now, now, (), chosen, wanted.until, considered=len(settled.choices), complete=True)


def _filed(bench: Bench, model: Model) -> list[Array]:
    """The file's outputs, one of its runs a row."""
    runs = len(inputs_of(model, bench.batch)[0])
    return [by_run(value.array, runs) for value in bench.candidate.outputs]


def _written_trained(bench: Bench, pair: OpenedPair, found: Advised, how: tuple[Wanted, Settings, Settling]) -> Advised:
    """The trained model as the file has it, opened and run again; one that is not nearer to it is not written."""
    wanted, settings, settled = how
    out, engine = wanted.out, pair.reference.engines[0]
    assert out is not None
    assert isinstance(engine, Settles)
    if not settled.choices:
        return replace(found, notes=(*found.notes, f"{out} was not written: its biases and ranges are the file's"))
    if not found.met:
        return found
    content = engine.settled(settled.variables).tobytes()
    with scratch() as folder, ExitStack() as opened:
        (folder / out.name).write_bytes(content)
        again = open_model(folder / out.name, settings, (), bench.batch, opened)
        measured = bench.beside(trace_first(again, bench.batch, silent)[1])
    if noise(measured) < noise(found.now):
        with written(out) as file:
            file.write_bytes(content)
        return replace(found, files={"out": str(out)}, measured=measured)
    note = f"{out} was not written: it is not nearer to the file than {pair.reference.source}"
    return replace(found, measured=measured, notes=(*found.notes, note))


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
    measured = bench.compared(trace_tflite(as_model(content), bench.batch, pair.processes[0]))
    if noise(measured) < noise(found.now):
        with written(wanted.out) as file:
            file.write_bytes(content)
        files["out"] = str(wanted.out)
    else:
        notes.append(f"{wanted.out} was not written: on {pair.processes[0].runtime} it is not better than the file")
    return replace(found, files=files, measured=measured, notes=(*found.notes, *notes))
