"""What to change in a quantized file, and the files that carry it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.api.engines import DEFAULTS, OpenedPair, Settings, Source, open_pair, trace_first
from quantdiff.api.inputs import check_inputs
from quantdiff.api.layouts import laid_out
from quantdiff.compare.conditions import Condition
from quantdiff.compare.own_metric import metric_of
from quantdiff.errors import BadModel, UnsupportedOp
from quantdiff.ladder.advice.advised import Advised, advised
from quantdiff.ladder.advice.bench import Bench, as_model, noise, tried_on
from quantdiff.ladder.advice.choices import IN_A_DENYLIST, IN_A_RECIPE, IN_THE_FILE, INPUT, OUTPUT, made
from quantdiff.ladder.advice.planned import planned
from quantdiff.ladder.advice.recipe import denylist, names_of, recipe
from quantdiff.ladder.switches import switches
from quantdiff.ladder.unrelated import check_related
from quantdiff.load.data import Batch
from quantdiff.progress import Progress, silent
from quantdiff.report.folder import written
from quantdiff.report.plain import json_text
from quantdiff.run.data_sources import load_data
from quantdiff.run.in_process import started
from quantdiff.run.runtimes import check_takes_others
from quantdiff.run.tflite import trace_tflite
from quantdiff.run.versions import versions


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of advice.

    Attributes:
        until: what the outputs must keep, such as ``top1_agreement>=0.999``.
        recipe: where the recipe for litert-quantizer goes.
        denylist: where the denylist for TensorFlow's converter goes.
        out: where the mended file goes.
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
            found = _searched(bench, wanted, progress)
            made_by = {"command": "advise", "samples": len(batch), "versions": versions()}
            artifacts = {**pair.artifacts, "data": batch.source}
            found = replace(found, notes=(*told, *found.notes), made_by=made_by, artifacts=artifacts)
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
