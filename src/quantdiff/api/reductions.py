"""Something small that shows what a large model shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from quantdiff.align.models import align_pair
from quantdiff.align.outputs import pair_outputs
from quantdiff.api.engines import DEFAULTS, Settings
from quantdiff.compare.conditions import parse
from quantdiff.errors import BadExpression, NotConfirmed, RuntimeFailed
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.progress import Progress, silent
from quantdiff.quant import Array
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.data_sources import load_data
from quantdiff.run.in_process import started
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.runtimes import check_installed, installed
from quantdiff.run.scratch import scratch
from quantdiff.run.tflite import bound_inputs, inputs_of
from quantdiff.search.anonymous import anonymous
from quantdiff.search.cuts import Cutter, File, partners_of
from quantdiff.search.fault import CRASH, DIFFERS, MODEL, Children, Crash, Difference, Fault, Unexpected
from quantdiff.search.reduce import Search, ask, smallest
from quantdiff.search.reduction import Reduction
from quantdiff.trace import Trace

TRIED = (1, 8, 64)
"""So many samples, the worst first, before all of them."""
LIMIT = 120.0
ALIGNED_ON = 64


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
        models: the reference and the candidate made from it, both ``.tflite``; or one file.
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
    files = [load_tflite(path) for path in models]
    batch = load_data(data, models[-1])
    check_installed(settings.runtimes)
    if check in (CRASH, DIFFERS):
        found = _of_one(files, batch, check, settings, progress, limit)
        return replace(found, anonymous=anonymous(found.search.found, found.fault)) if bare else found
    with closing(Children(_sides(files, settings, check), settings.timeout)) as children:
        runtimes = settings.runtimes[: 3 - len(files)]
        fault = Difference(parse(check, "--check"), runtimes, settings.tolerance, children)
        found = _difference(fault, files, batch, settings, progress, limit)
        return replace(found, anonymous=anonymous(found.search.found, fault)) if bare else found


def _sides(files: Sequence[Model], settings: Settings, check: str) -> tuple[str, str]:
    """The runtimes of both sides.

    Raises:
        BadExpression: one file on one runtime, of which nothing can differ.
    """
    first, *others = settings.runtimes
    if len(files) > 1:
        return first, first
    if not others:
        raise BadExpression(
            f"--check {check!r} holds two things against each other: give a reference too, or two runtimes: "
            "--runtime reference --runtime xnnpack; or --check crash, --check differs"
        )
    return first, others[0]


def _difference(
    fault: Difference, files: Sequence[Model], batch: Batch, settings: Settings, progress: Progress, limit: float
) -> Reduction:
    traces, model = fault.traces(files, batch), files[-1]
    before = fault.says(traces)
    if not before:
        raise _nothing(str(fault.condition))
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
        partners = _partners(files, batch, settings)
        cutter = replace(cutter, reference=File.of(files[0]), partners=partners)
    found = smallest(cutter, fault, range(len(rows)), limit, progress)
    return _reduction(str(fault.condition), before, found, fault, model, len(batch))


def _partners(files: Sequence[Model], batch: Batch, settings: Settings) -> dict[int, int]:
    """Which tensor of the reference is which of the candidate."""
    with started(settings.runtimes[0], settings.timeout) as process:
        sides = [TfliteReference(model, process) for model in files]
        alignment = align_pair(sides[0], sides[1], batch.part(slice(ALIGNED_ON)))
    return partners_of(alignment, files[1].main, files[0].main)


def _of_one(
    files: Sequence[Model], batch: Batch, check: str, settings: Settings, progress: Progress, limit: float
) -> Reduction:
    """A crash, or a runtime that is not as its simulator."""
    if len(files) > 1:
        raise BadExpression(f"--check {check} asks about one model: leave the reference out")
    (model,), runtime = files, settings.runtimes[0]
    assert model.path is not None
    fault: Fault = (Crash if check == CRASH else Unexpected)(runtime, settings.timeout)
    inputs, content = inputs_of(model, batch), model.path.read_bytes()
    per = max(1, len(batch) // len(inputs[0]))
    with scratch() as folder:
        for rows in _first(np.arange(len(inputs[0])), len(inputs[0])):
            some = Batch({name: a[: len(rows) * per] for name, a in batch.arrays.items()}, None, batch.source)
            if before := ask(fault, {MODEL: content}, some, folder):
                break
        else:
            raise _nothing(check)
    others = [name for name in installed() if name != runtime] if check == CRASH else [runtime]
    seen = _recorded(model, [array[: len(rows)] for array in inputs], others, settings.timeout)
    found = smallest(Cutter(File.of(model), seen, source=batch.source), fault, range(len(rows)), limit, progress)
    return _reduction(check, before, found, fault, model, len(batch))


def _nothing(check: str) -> NotConfirmed:
    return NotConfirmed(f"--check {check}: does not hold for these models and data; there is nothing to reduce")


def _reduction(check: str, before: str, found: Search, fault: Fault, model: Model, samples: int) -> Reduction:
    assert model.path is not None
    return Reduction(check, before, found, fault, len(model.main.operators), samples, model.path.stat().st_size)


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
