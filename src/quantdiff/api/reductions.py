"""Something small that shows what a large model shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.align.models import align_pair
from quantdiff.api.comparisons import check_inputs, laid_out
from quantdiff.api.engines import DEFAULTS, Opened, Settings, open_pair, runtime_beside
from quantdiff.compare.conditions import parse
from quantdiff.errors import BadExpression, BadModel, NotConfirmed, RuntimeFailed
from quantdiff.files import scratch
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.load.written import written
from quantdiff.quant import Array, Trace
from quantdiff.references.formats import format_of
from quantdiff.references.reference import TurnedReference
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import bound_inputs, inputs_of, load_data
from quantdiff.run.runner import Progress, silent, started
from quantdiff.run.runtimes import check_installed, check_takes_others, installed
from quantdiff.search.cuts import Cutter, File, Partner, partners_of
from quantdiff.search.fault import CRASH, DIFFERS, MODEL, REFERENCE, Children, Crash, Difference, Fault, Unexpected
from quantdiff.search.reduce import Search, ask, smallest
from quantdiff.search.reduction import Reduction, anonymous

TRIED = (1, 8, 64)
"""So many samples, the worst first, before all of them."""
LIMIT = 120.0
ALIGNED_ON = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How to run, whom to tell, and how many seconds to search."""

    settings: Settings
    progress: Progress
    seconds: float


def reduce(  # noqa: PLR0913 (what is asked, and how)
    models: Sequence[str | Path],
    data: str | Path | Batch,
    check: str,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    *,
    limit: float = LIMIT,
    bare: bool = False,
) -> Reduction:
    """The smallest model and the fewest samples that still show what ``check`` says.

    Args:
        models: the reference and the ``.tflite`` made from it; or one ``.tflite``.
        data: samples along axis 0, in the reference's float units.
        check: an expression of ``--fail-on`` that holds (of one file: between two runtimes), ``crash`` or ``differs``.
        settings: the runtime, two for one file; tolerance and time limit of a run.
        progress: called with what is done, how much of it, and how much there is.
        limit: seconds; the best so far is what there is then.
        bare: without names and weights, as far as the fault stays.

    Returns:
        The part that is left. After Ctrl-C it is the smallest so far.

    Raises:
        NotConfirmed: nothing shows in the whole.
        QuantdiffError: a model or the data cannot be read, or do not fit each other.
    """
    check_installed(settings.runtimes, real=check in {CRASH, DIFFERS})
    check_takes_others(settings.runtimes, "reduce")
    batch = load_data(data, models[-1])
    with scratch() as folder:
        files, batch = _files(models, batch, settings, folder)
        with closing(Children(_sides(files, settings, check), settings.timeout)) as children:
            fault, search = _fault(files, check, settings, children), Limits(settings, progress, limit)
            if isinstance(fault, Difference):
                found = _difference(fault, files, batch, search)
            else:
                found = _of_one(fault, files[0], batch, check, search)
            if not bare or found.search.ended == "interrupted":
                return found
            return replace(found, anonymous=anonymous(found.search.found, found.fault))


def _files(models: Sequence[str | Path], batch: Batch, settings: Settings, folder: Path) -> tuple[list[Model], Batch]:
    """Every model as a ``.tflite``, and the data under the names of all; raises as ``reduce``."""
    if format_of(Path(models[-1])) != "tflite":
        raise BadModel(f"{models[-1]}: a .tflite is cut; give it as the candidate")
    if len(models) == 1:
        return [load_tflite(models[0])], batch
    with open_pair(models[0], models[1], replace(settings, runtimes=settings.runtimes[:1]), batch) as pair:
        names, _ = check_inputs(pair, batch)
        batch = names.of(batch)
        pair = laid_out(pair, batch, settings.layouts)  # noqa: PLW2901 (the same pair, turned)
        return [_as_file(pair.reference, folder), pair.candidate.wanted("reduce")], batch


def _as_file(reference: Opened, folder: Path) -> Model:
    """A reference as it is, or as what it is lowered to, without its framework.

    Raises:
        BadModel: it cannot be said in TFLite's operators.
    """
    engine, model = reference.engines[0], reference.file
    if model is not None and not (isinstance(engine, TurnedReference) and engine.at_outputs):
        return model
    lowered = engine.lower()
    if lowered is None:
        raise BadModel(
            f"{reference.source}: has no graph of operators that could be cut; give the reference as a float .tflite"
        )
    (folder / REFERENCE).write_bytes(written(lowered))
    return load_tflite(folder / REFERENCE)


def _fault(files: Sequence[Model], check: str, settings: Settings, children: Children) -> Fault:
    """What is asked.

    Raises:
        BadExpression: no metric, or a question about one model with two of them.
    """
    if check in {CRASH, DIFFERS}:
        if len(files) > 1:
            raise BadExpression(f"--check {check} asks about one model: leave the reference out")
        return (Crash if check == CRASH else Unexpected)(settings.runtimes[0], settings.timeout)
    runtimes = settings.runtimes[: 3 - len(files)]
    return Difference(parse(check, "--check"), runtimes, settings.tolerance, children)


def _sides(files: Sequence[Model], settings: Settings, check: str) -> tuple[str, str]:
    """The runtimes of both sides.

    Raises:
        BadExpression: one file on one runtime, of which nothing can differ.
    """
    first, *others = settings.runtimes
    if check in {CRASH, DIFFERS}:
        return first, first
    if len(files) > 1:
        return runtime_beside(files[0], first), first
    if not others:
        raise BadExpression(
            f"--check {check!r} holds two things against each other: give a reference too, or two runtimes: "
            "--runtime reference --runtime xnnpack; or --check crash, --check differs"
        )
    return first, others[0]


def _difference(fault: Difference, files: Sequence[Model], batch: Batch, search: Limits) -> Reduction:
    settings = search.settings
    traces, model = fault.traces(files, batch), files[-1]
    before = fault.judged(traces)
    if not before.different:
        raise _nothing(f"{fault.condition} does not hold: {before.says}")
    inputs = inputs_of(model, batch)
    per = max(1, len(batch) // len(inputs[0]))
    worst = np.argsort(-_errors(traces), kind="stable")
    shown = next(some for some in _first(worst, len(worst)) if fault.says([_some(each, some) for each in traces]))
    rows = list(dict.fromkeys(int(row) // per for row in shown))
    with started(settings.runtimes[0], settings.timeout) as runner:
        seen = read_everything(model, [array[rows] for array in inputs], runner).values
    real = dict(zip(model.main.inputs, bound_inputs(model, batch), strict=True)) if per == 1 else {}
    given = {i: array[rows] for i, array in real.items()}
    cutter = Cutter(File.of(model), seen, given=given, source=batch.source)
    if len(files) > 1:
        partners = _partners(files, batch)
        cutter = replace(cutter, reference=File.of(files[0]), partners=partners)
    found = smallest(cutter, fault, range(len(rows)), search.seconds, search.progress)
    return _reduction(str(fault.condition), before.says, found, fault, model, batch)


def _partners(files: Sequence[Model], batch: Batch) -> dict[int, Partner]:
    """Which tensor of the reference is which of the candidate."""
    sides = [TfliteReference(model) for model in files]
    alignment = align_pair(sides[0], sides[1], batch.part(slice(ALIGNED_ON)))
    return partners_of(alignment, files[1], files[0])


def _of_one(fault: Fault, model: Model, batch: Batch, check: str, search: Limits) -> Reduction:
    """A crash, or a runtime that is not as its simulator."""
    assert model.path is not None
    runtime, settings = search.settings.runtimes[0], search.settings
    inputs, content = inputs_of(model, batch), model.whole()
    per = max(1, len(batch) // len(inputs[0]))
    with scratch() as folder:
        for rows in _first(np.arange(len(inputs[0])), len(inputs[0])):
            some = Batch({name: a[: len(rows) * per] for name, a in batch.arrays.items()}, None, batch.source)
            if before := ask(fault, {MODEL: content}, some, folder):
                break
        else:
            raise _nothing(f"{check} does not show")
    others = [name for name in installed() if name != runtime] if check == CRASH else [runtime]
    seen = _recorded(model, [array[: len(rows)] for array in inputs], others, settings.timeout)
    cutter = Cutter(File.of(model), seen, source=batch.source)
    found = smallest(cutter, fault, range(len(rows)), search.seconds, search.progress)
    return _reduction(check, before, found, fault, model, batch)


def _nothing(why: str) -> NotConfirmed:
    return NotConfirmed(f"--check {why}, for these models and data; there is nothing to reduce")


def _reduction(check: str, before: str, found: Search, fault: Fault, model: Model, batch: Batch) -> Reduction:
    assert model.path is not None
    sizes = len(model.main.operators), len(batch), len(model.whole())
    return Reduction(check, before, found, fault, *sizes, batch.source)


def _recorded(model: Model, inputs: Sequence[Array], runtimes: Sequence[str], timeout: float) -> dict[int, Array]:
    """Every tensor on the first of the runtimes that runs the model; the inputs alone where none does."""
    for name in runtimes:
        with suppress(RuntimeFailed), started(name, timeout) as runner:
            return read_everything(model, inputs, runner).values
    return dict(zip(model.main.inputs, inputs, strict=True))


def _errors(traces: Sequence[Trace]) -> Array:
    """The largest error of each sample, real units. Shape: (samples,)."""
    pairs, _ = pair_outputs(traces[0], traces[1])
    each = [np.abs(a.real.astype(np.float64).reshape(len(a.array), -1) - b.real.reshape(len(b.array), -1)).max(axis=1)
            for a, b in pairs]  # fmt: skip
    return np.asarray(np.max(each, axis=0))


def _first(order: Array, count: int) -> Iterator[Array]:
    """The first one, the first few, all."""
    yield from (order[:some] for some in TRIED if some < count)
    yield order


def _some(trace: Trace, rows: Array) -> Trace:
    return replace(trace, outputs=tuple(replace(value, array=value.array[rows]) for value in trace.outputs))
