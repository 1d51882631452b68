"""How bad it can get on inputs that nobody has tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.api.comparisons import check_inputs, laid_out
from quantdiff.api.engines import DEFAULTS, OpenedPair, Settings, Source, open_pair
from quantdiff.api.explanations import explain_opened
from quantdiff.compare.comparison import compare
from quantdiff.errors import QuantdiffError
from quantdiff.graph import Model
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import switches
from quantdiff.load.data import Batch
from quantdiff.quant import INTEGER_RANGE, Array, Trace
from quantdiff.references.reference import Reference
from quantdiff.references.tflite.reference import TfliteReference, Tracer
from quantdiff.run.inputs import bound_inputs, grid_at, load_data
from quantdiff.run.random_input import CALLED
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import check_takes_others, versions
from quantdiff.search.bound import Bound, Span, at, bound_of
from quantdiff.search.worst import (
    FOR_FLIPS,
    Space,
    Summits,
    Trace2,
    WorstCase,
    WorstInput,
    errors_of,
    errors_within,
    margins_of,
    on_the_way,
    summits,
)

LIMIT, SAMPLES, KEPT = 30.0, 64, 16
SETTLED = 100
"""Samples of which it is asked whether anything can change their decision."""
SAME = 0.01
"""Steps that the reference's own floats may lie from exact arithmetic."""


def worst(  # noqa: PLR0913 (what is searched, and how)
    reference: Source,
    candidate: Source,
    data: str | Path | Batch | None = None,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    *,
    limit: float = LIMIT,
    near: float | None = None,
) -> WorstCase:
    """Search for the input on which the two differ most, and for one that they decide otherwise.

    Args:
        reference: a trained model, or a float ``.tflite``.
        candidate: the ``.tflite`` made from it.
        data: where the search begins, and what an input may be: values between the least and the most of them; seeded
            random input over the whole range where there are none.
        settings: the runtime; the first one counts.
        progress: called with what is done, how much of it, and how much there is.
        limit: seconds that the search may take.
        near: how far a value may go from that of the sample it began with, real units; None: to the ends.

    Returns:
        The inputs, what they give alone on the runtime, and what makes the largest error. After Ctrl-C the best so far.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or a model does not run.
    """
    check_takes_others(settings.runtimes[:1], "worst", "other inputs")
    batch = load_data(f"random:{SAMPLES}" if data is None else data, candidate)
    settings = replace(settings, runtimes=settings.runtimes[:1])
    with open_pair(reference, candidate, settings, batch) as pair:
        model, (names, told) = pair.candidate.wanted("worst"), check_inputs(pair, batch)
        batch = names.of(batch)
        pair = laid_out(pair, batch, settings.layouts)  # noqa: PLW2901 (the same pair, turned)
        space = Space(batch, _ends(model, batch), near)
        with _both(pair) as trace:
            found = _searched(pair, space, trace, limit, progress)
        made_by = {"command": "worst", "data": batch.source, "versions": versions()}
        found = replace(found, warnings=told, made_by=made_by)
        if found.interrupted:
            return found
        return replace(_explained(found, pair, settings), bound=_bound(pair, space, found.unit))


@contextmanager
def _both(pair: OpenedPair) -> Iterator[Trace2]:
    """What asks both models, each loaded once."""
    with ExitStack() as opened:
        ours, theirs = (_tracer(side.engines[0], opened) for side in (pair.reference, pair.candidate))
        yield lambda batch: (ours(batch), theirs(batch))


def _tracer(engine: Reference, opened: ExitStack) -> Callable[[Batch], Trace]:
    if not isinstance(engine, TfliteReference) or engine.process is None:
        return engine.trace
    return Tracer(engine.model, opened.enter_context(engine.process.another())).trace


def _ends(model: Model, batch: Batch) -> tuple[tuple[float, float] | None, ...]:
    """What each array of the data may hold: its least to its most; of data made up, the grid."""
    found = dict[str, tuple[float, float]]()
    made_up = CALLED.fullmatch(batch.source) is not None
    for tensor, bound in zip(model.main.inputs, bound_inputs(model, batch), strict=True):
        grid = grid_at(model.main, tensor)
        name = next(name for name, array in batch.arrays.items() if np.shares_memory(array, bound))
        if grid is None and bound.dtype.kind != "f":
            continue  # it counts: a token, a place
        low, high = float(bound.min()), float(bound.max())
        if grid is not None and made_up:
            (scale,), (zero_point,) = grid.params.scale, grid.params.zero_point
            low, high = ((q - zero_point) * float(np.float32(scale)) for q in INTEGER_RANGE[grid.dtype])
        found[name] = low, high
    return tuple(found.get(name) for name in batch.arrays)


def _searched(pair: OpenedPair, space: Space, trace: Trace2, limit: float, progress: Progress) -> WorstCase:
    begun, first = monotonic(), trace(space.start)
    errors, within, margins = errors_of(first), errors_within(first), margins_of(first)
    found = _climbed(space, trace, limit, progress, (errors, margins))
    interrupted = found[-1].interrupted
    batch, inputs = _confirmed(found, trace, interrupted)
    pairs, _ = pair_outputs(*first)
    grid = pairs[0][1].grid or pairs[0][0].grid
    return WorstCase(
        pair.reference.engines[0].kind, pair.candidate.engines[0].kind,
        float(grid.params.scale[0]) if grid is not None else 1.0, grid is not None, batch, inputs,
        float(errors.max()), None if margins is None else float(margins.max()), len(space.start),
        sum(each.tried for each in found), monotonic() - begun, space.near, interrupted, float(within.max()),
    )  # fmt: skip


def _climbed(
    space: Space, trace: Trace2, limit: float, progress: Progress, known: tuple[Array, Array | None]
) -> list[Summits]:
    """Summits of the error; of the error within the output's grid, where they lie beyond it; and of decisions.

    ``known``: errors and margins of the samples.
    """
    errors, margins = known
    for_flips = 0.0 if margins is None else FOR_FLIPS * limit
    half, order = (limit - for_flips) / 2, np.argsort(-errors, kind="stable").tolist()
    found = [summits(trace, errors_of, space, space.starts(order), half, progress)]
    if found[0].interrupted:
        return found
    try:
        inside = float(errors_within(trace(found[0].batch.part(slice(1))))[0])
        beyond = found[0].heights[0] > inside + 1
        starts = on_the_way(trace, space, found[0]) if beyond else space.starts(order[::-1])
    except KeyboardInterrupt:
        return [replace(found[0], interrupted=True)]
    found.append(summits(trace, errors_within if beyond else errors_of, space, starts, half, progress))
    if margins is not None and not found[-1].interrupted:
        starts = space.starts(np.argsort(-margins, kind="stable").tolist())
        found.append(summits(trace, margins_of, space, starts, for_flips, progress))
    return found


def _confirmed(found: Sequence[Summits], trace: Trace2, interrupted: bool) -> tuple[Batch, tuple[WorstInput, ...]]:
    """The summits by their errors, each alone on both models; without a run after Ctrl-C, which has ended them."""
    names = found[0].batch.arrays
    arrays = {name: np.concatenate([each.batch.arrays[name] for each in found]) for name in names}
    rows = [row for each in found for row in each.rows]
    if interrupted:
        inputs = [WorstInput(h, None, row) for h, row in zip(found[0].heights, found[0].rows, strict=True)]
        return found[0].batch, tuple(inputs)
    made = []
    for k, row in enumerate(rows):
        one = trace(Batch({name: array[k : k + 1] for name, array in arrays.items()}, None, "the search"))
        margin, steps = margins_of(one), compare(*one).figures.max_steps
        error, within = float(errors_of(one)[0]), float(errors_within(one)[0])
        made.append(WorstInput(error, None if margin is None else float(margin[0]), row, steps, within))
    order = sorted(range(len(made)), key=lambda k: -made[k].error)
    also = {max(order, key=lambda k: made[k].margin or 0.0), max(order, key=lambda k: made[k].within or 0.0)}
    kept = [k for place, k in enumerate(order) if place < KEPT or k in also]
    return Batch({n: a[kept] for n, a in arrays.items()}, None, "the search"), tuple(made[k] for k in kept)


def _bound(pair: OpenedPair, space: Space, unit: float) -> Bound:
    """What no input exceeds, as far as intervals carry; and the samples whose decision is safe."""
    model, reference, batch = pair.candidate.wanted("worst"), pair.reference.engines[0], space.start
    few = batch.part(slice(SETTLED))
    try:
        lowering = reference.lower()
        if lowering is None:
            return Bound(stopped="the reference has no graph of operators")
        found, inputs = switches(model, lowering), real_inputs(model, few)
        values, own = found.file.run(inputs, found.rewritten), reference.trace(few)
    except QuantdiffError as error:
        return Bound(stopped=str(error))
    for i, value in zip(model.main.outputs, own.outputs, strict=True):
        apart = float(np.abs(values[i].reshape(-1) - value.real.reshape(-1)).max()) if len(own.outputs) == 1 else 0.0
        if apart > SAME * unit:
            return Bound(stopped=f"the file's graph with the reference's numbers gives other outputs, by {apart:.3g}")
    ends = dict(zip(batch.arrays, space.ends, strict=True))
    named = [next(n for n, a in few.arrays.items() if np.shares_memory(a, b)) for b in bound_inputs(model, few)]
    if any(ends[name] is None for name in named):
        return Bound(stopped="an input counts, and is no measured quantity")
    whole = [_span(ends[name] or (0.0, 0.0), x, space.near) for name, x in zip(named, inputs, strict=True)]
    places = model.main.inputs
    known = dict(zip(places, at(inputs), strict=True))
    return bound_of(found, dict(zip(places, whole, strict=True)), known, unit)


def _span(ends: tuple[float, float], samples: Array, near: float | None) -> Span:
    """Where an input may be: anywhere between the ends, or near to each of the samples."""
    if near is not None:
        low, high = np.maximum(samples - near, ends[0]), np.minimum(samples + near, ends[1])
        return Span(low, high, np.zeros_like(low), np.zeros_like(low))
    low, high = (np.full((1, *samples.shape[1:]), end) for end in ends)
    return Span(low, high, np.zeros_like(low), np.zeros_like(low))


def _explained(found: WorstCase, pair: OpenedPair, settings: Settings) -> WorstCase:
    """With what makes the error of the first input."""
    try:
        told = explain_opened(pair, found.batch.part(slice(1)), settings)
    except QuantdiffError as error:
        return replace(found, unexplained=str(error))
    if told.failures:
        return replace(found, unexplained=told.failures[0].error)
    return replace(found, explanation=told.found[0], unexplained=told.found[0].unaccounted)
