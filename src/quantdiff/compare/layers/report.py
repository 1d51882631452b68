"""LayerReport: what ``diff --layers`` found for one pair of engines, with what happened in words, and drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from quantdiff.align.alignment import Alignment, Leftover, Match
from quantdiff.align.choice import RESCALED, VANISHED, core, explained, segments
from quantdiff.align.constants import bias_moved, fit_between
from quantdiff.compare.layers.figures import (
    Flip,
    LayerCounts,
    LayerFigures,
    PairStats,
    StepHistogram,
    WorstSample,
    figures_of,
    step_histogram,
)
from quantdiff.lazy import Shown
from quantdiff.load.data import Order
from quantdiff.ops import BATCH_NORM, CLAMPS, INTO_INTEGERS
from quantdiff.quant import Array, Value
from quantdiff.recording import BoundModel, Flow, FlowValue, returned, value_at

HELPERS = ("PAD", "PADV2", "TRANSPOSE", "FILL", "SLICE", "CONCATENATION")
"""What converters add for another order of axes or for padding that their operators do not have."""


def helpers_note(alignment: Alignment) -> Iterator[str]:
    """One line for all operators inside of pairs that only the candidate has, and that compute nothing."""
    added, places = Counter[str](), (alignment.reference.by_key(), alignment.candidate.by_key())
    for match in alignment.matches:
        mine, other = (Counter(place.op for place in side) for side in segments(match, *places))
        added += Counter({op: count for op, count in (other - mine).items() if op in HELPERS})
    if added:
        yield "added by the converter: " + ", ".join(f"{count:,} {op}" for op, count in sorted(added.items()))


def notes_of(mine: Sequence[FlowValue], other: Sequence[FlowValue]) -> tuple[str, ...]:
    """``mine`` are the places of the reference, ``other`` those of the candidate, the pair's own last."""
    kept = explained(mine, other)
    inside = [place for place in mine if place.key in kept and place.op not in RESCALED]
    merged = _merged(inside, {place.op for place in other}) if len(inside) > 1 else ()
    return (
        *dict.fromkeys(merged),
        *_split(mine, other),
        *_more_biases(mine, other),
        *_scaled(mine, other),
        *_ends(other),
    )


def _merged(inside: Sequence[FlowValue], ops: set[str]) -> Iterator[str]:
    weighted = next((place.name for place in inside if place.is_weighted), "")
    for place in inside:
        if place.op == BATCH_NORM:
            yield f"{place.name} folded into {weighted}" if weighted else f"{place.name} folded"
        elif place.op in CLAMPS and place.op not in ops:
            yield f"{place.name} fused"
        elif place.op in VANISHED and place is not inside[-1]:
            yield f"{place.name} vanished"
        elif place is not inside[-1] and not place.is_weighted:
            yield f"one operator with {place.name}"


def _split(mine: Sequence[FlowValue], other: Sequence[FlowValue]) -> Iterator[str]:
    """More operators than layers."""
    kept = explained(other, mine)
    ops = [place.op for place in other if place.key in kept and place.op not in RESCALED]
    if len(ops) > 1 and sum(place.op not in RESCALED for place in mine) == 1:
        yield "split into " + " + ".join(ops)


def _more_biases(mine: Sequence[FlowValue], other: Sequence[FlowValue]) -> Iterator[str]:
    """The bias of a layer before, where the operator before adds none."""
    earlier = [[p for p in side if p.is_weighted and p is not core(side)] for side in (mine, other)]
    if len(earlier[0]) == len(earlier[1]) == 1 and bias_moved(earlier[0], earlier[1][0]):
        yield f"adds the bias of {earlier[0][0].name} too"


def _scaled(mine: Sequence[FlowValue], other: Sequence[FlowValue]) -> Iterator[str]:
    """A factor that is in the weights: a scale in front, such as a norm's gamma, or the slope of what follows."""
    for place in other:
        fit = fit_between(mine, place) if place.is_weighted else None
        if fit is not None and fit.scaled:
            yield "its weights hold a scale of their inputs, channel by channel"
        if fit is not None and fit.slope != 1:
            yield f"its weights hold the slope of its activation, {fit.slope:.3g}"


def _ends(other: Sequence[FlowValue]) -> Iterator[str]:
    """Integers that a float operator does not make itself, or that are put on another grid on the way."""
    if core(other) is not other[-1] and core(other).op != "input" and core(other).grid is None:
        yield "computed in float, then quantized"
    grids = {place.key: place.grid for place in other}
    if any(place.op == INTO_INTEGERS and grids.get(place.feeds[0]) is not None for place in other):
        yield "put on another grid first"


WRONG_WEIGHTS = "its weights are not those of the reference"


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One pair: the value of a layer and the tensor that it became; ``inside`` are layers or operators within.

    ``figures`` are accumulated, as it happens; ``local`` those of this layer alone, fed with the candidate's own
    input; None where the reference cannot be fed. ``notes`` say what was folded, fused, left out or split;
    ``found_by``, ``confirmed_by``, ``distance`` and ``kernel_agrees`` are those of ``align.alignment.Match``.
    ``order``: how the reference's axes, samples aside, are turned to be the candidate's; () where they are the same.
    """

    reference: str
    candidate: str
    layer: str
    op: str
    found_by: str
    confirmed_by: str
    distance: float
    kernel_agrees: bool | None
    notes: tuple[str, ...]
    figures: LayerFigures
    local: LayerFigures | None
    reference_inside: tuple[str, ...] = ()
    candidate_inside: tuple[str, ...] = ()
    order: Order = ()


@dataclass(frozen=True, slots=True)
class LayerReport(Shown):
    """All pairs of two engines in the reference's order, what has no partner, and where to look first.

    ``first_differing`` and ``adds_most`` are places in ``layers``: the first where anything differs, and the one with
    the lowest SQNR of its own. ``unrelated`` says why the two are not the same model; empty where they are.
    ``drawing`` is what a page draws of both graphs.
    """

    reference: str
    candidate: str
    layers: tuple[LayerResult, ...]
    only_reference: tuple[Leftover, ...]
    only_candidate: tuple[Leftover, ...]
    unrelated: str = ""
    first_differing: int | None = None
    adds_most: int | None = None
    worst_samples: tuple[WorstSample, ...] = ()
    flips: tuple[Flip, ...] = ()
    flipped: int = 0
    decided: int = 0
    notes: tuple[str, ...] = ()
    drawing: Drawing | None = field(default=None, repr=False)


def ends_of(alignment: Alignment) -> tuple[frozenset[int], tuple[str, ...]]:
    """The pairs nearest to the models' outputs, by number, and a note for each output that is no pair itself."""
    matches = alignment.matches
    paired = [{match.keys[side]: i for i, match in enumerate(matches)} for side in (0, 1)]
    flows = alignment.reference, alignment.candidate
    lasts = [
        [_last_paired(flow, key, mine) for key in sorted(flow.ends())] for flow, mine in zip(flows, paired, strict=True)
    ]
    ends, notes = [{end for end, _ in side if end is not None} for side in lasts], []
    for side, name in enumerate(("reference", "candidate")):
        for end, passed in lasts[side]:
            after = [place for place in passed if place.op not in RESCALED]
            if end is None or not after:
                continue
            alone = any(other == end and not rest for other, rest in lasts[1 - side])
            where = f"at the end of the {name} only" if alone else f"at the end of the {name} has no partner"
            notes += [f"{place.kind or place.op} ({place.name}) {where}: compared before it" for place in after]
    return frozenset(ends[0] | ends[1]), tuple(notes)


def _last_paired(flow: Flow, key: int, paired: dict[int, int]) -> tuple[int | None, list[FlowValue]]:
    """The pair that an output comes from, and the places after it, the last first."""
    places, passed = flow.by_key(), list[FlowValue]()
    while key not in paired:
        passed.append(places[key])
        if len(places[key].feeds) != 1:
            return None, passed
        (key,) = places[key].feeds
    return paired[key], passed


def report_of(alignment: Alignment, counts: LayerCounts, notes: tuple[str, ...] = ()) -> LayerReport:
    """Everything after the last sample."""
    decisions, layers = counts.decisions, tuple(_results(alignment, counts.stats))
    return LayerReport(
        alignment.reference.engine,
        alignment.candidate.engine,
        layers,
        alignment.only_reference,
        alignment.only_candidate,
        alignment.unrelated,
        next((i for i, layer in enumerate(layers) if _differs(layer)), None),
        _adds_most(layers),
        tuple(decisions.worst),
        tuple(decisions.flips),
        decisions.flipped,
        decisions.decided,
        notes,
    )


def _differs(layer: LayerResult) -> bool:
    figures = layer.figures
    return bool(figures.max_abs_error) if figures.differing is None else figures.differing > 0


def _adds_most(layers: Sequence[LayerResult]) -> int | None:
    own = {i: layer.local.sqnr_db for i, layer in enumerate(layers) if layer.local is not None}
    worst = min(own, key=own.__getitem__, default=None)
    return None if worst is None or own[worst] == math.inf else worst


def _both(first: Order, second: Order) -> Order:
    """One turn after the other; () for none."""
    if not first or not second:
        return first or second
    order = tuple(first[axis] for axis in second)
    return order if order != tuple(range(len(order))) else ()


def _results(alignment: Alignment, stats: Sequence[PairStats]) -> Iterator[LayerResult]:
    places = alignment.reference.by_key(), alignment.candidate.by_key()
    for match, grid, total in zip(alignment.matches, alignment.grids(), stats, strict=True):
        mine, other = segments(match, *places)
        yield LayerResult(
            reference=mine[-1].name,
            candidate=other[-1].name,
            layer=mine[-1].kind or mine[-1].op,
            op=core(other).op,
            found_by=match.found_by,
            confirmed_by=match.confirmed,
            distance=match.distance,
            kernel_agrees=match.kernel,
            notes=(*notes_of(mine, other), *([WRONG_WEIGHTS] if match.kernel is False else [])),
            figures=figures_of(total.accumulated, grid),
            local=figures_of(total.local, grid) if total.local.count else None,
            reference_inside=tuple(place.name for place in mine[:-1]),
            candidate_inside=tuple(place.name for place in other[:-1]),
            order=_both(mine[-1].order, match.order),
        )


SAMPLES = 16
"""At most so many are looked at again for the histograms: they show a shape, the figures count all samples."""


Feed = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """What both sides compute there, ``(op, name)`` each, the value that is compared last; a side may have nothing.

    ``layer`` is the place among the layers of the report. Without one nothing is compared, and ``why`` says why there
    is no partner; what stands at the same place of both models shares such a box.
    """

    reference: tuple[tuple[str, str], ...]
    candidate: tuple[tuple[str, str], ...]
    layer: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Histograms:
    """The errors of a pair in steps, as it happens and alone; None where they lie on no grid or cannot be fed."""

    accumulated: StepHistogram | None = None
    local: StepHistogram | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """Both models as one graph. ``feeds`` are ``(side, from, to)``: side 0 the reference, boxes by number.

    ``histograms`` are those of the layers, of the first ``samples`` samples.
    """

    boxes: tuple[Box, ...]
    feeds: tuple[Feed, ...]
    histograms: tuple[Histograms, ...] = field(default=(), repr=False)
    samples: int = 0


def drawing_of(alignment: Alignment, reference: BoundModel, candidate: BoundModel) -> Drawing | None:
    """Draw the pairs, what lies inside them, and what has no partner; both models run a few samples again.

    Nothing of two models that are unrelated.

    Raises:
        RuntimeFailed: a model does not run.
    """
    if alignment.unrelated:
        return None
    boxes, feeds = graph_of(alignment)
    samples = min(SAMPLES, alignment.at_once, len(reference))
    histograms = tuple(_histograms(alignment, reference, candidate, samples))
    return Drawing(boxes, feeds, histograms, samples)


def graph_of(alignment: Alignment) -> tuple[tuple[Box, ...], tuple[Feed, ...]]:
    """Boxes and what feeds what; every value of both models stands in one box, the pairs' boxes first."""
    flows, matches = (alignment.reference, alignment.candidate), alignment.matches
    left = tuple({each.key: each.why for each in side} for side in (alignment.only_reference, alignment.only_candidate))
    homes = _homes(matches, left)
    values: list[tuple[list[FlowValue], list[FlowValue]]] = [([], []) for _ in matches]
    for side, flow in enumerate(flows):
        for place in flow.places:
            home = homes[side].get(place.key)
            if home is None:
                home = homes[side][place.key] = _beside(side, place, homes, values, len(matches))
            values[home][side].append(place)
    feeds = (
        (side, homes[side][key], homes[side][place.key])
        for side, flow in enumerate(flows)
        for place in flow.places
        for key in place.feeds
    )
    boxes = tuple(_box(each, i if i < len(matches) else None, left) for i, each in enumerate(values))
    return boxes, tuple(dict.fromkeys(each for each in feeds if each[1] != each[2]))


def _beside(
    side: int,
    place: FlowValue,
    homes: tuple[dict[int, int], dict[int, int]],
    values: list[tuple[list[FlowValue], list[FlowValue]]],
    matched: int,
) -> int:
    """The box of a value without a partner: one of the other side's that is fed by the same boxes, or a new one."""
    fed = {homes[side][key] for key in place.feeds}
    for home in range(matched, len(values)) if side else ():
        ours, theirs = values[home]
        if not theirs and {homes[0][key] for each in ours for key in each.feeds} == fed:
            return home
    values.append(([], []))
    return len(values) - 1


def _homes(matches: Sequence[Match], left: Sequence[Mapping[int, str]]) -> tuple[dict[int, int], dict[int, int]]:
    """The pair in whose box a value stands, by side and key: its own, or the first inside which it lies."""
    homes: tuple[dict[int, int], dict[int, int]] = {}, {}
    for i, match in enumerate(matches):
        for side, inside in enumerate((match.reference_inside, match.candidate_inside)):
            homes[side].update({key: i for key in inside if key not in left[side] and key not in homes[side]})
            homes[side][match.keys[side]] = i
    return homes


def _box(
    values: tuple[Sequence[FlowValue], Sequence[FlowValue]], layer: int | None, left: Sequence[Mapping[int, str]]
) -> Box:
    mine, other = (tuple((place.kind or place.op, place.name) for place in side) for side in values)
    whys = dict.fromkeys(left[side].get(place.key, "") for side in (0, 1) for place in values[side])
    return Box(mine, other, layer, "; ".join(filter(None, whys)) if layer is None else "")


def _histograms(
    alignment: Alignment, reference: BoundModel, candidate: BoundModel, samples: int
) -> Iterator[Histograms]:
    theirs, ours = candidate.run(0, samples), reference.run(0, samples)
    places, grids = alignment.values(), alignment.grids()
    matched = zip(places, alignment.matches, strict=True)
    given = {mine.key: returned(value_at(theirs, other), match.order) for (mine, other), match in matched}
    alone = ours.local(given)
    for (mine, _), grid in zip(places, grids, strict=True):
        scale: Sequence[float] = () if grid is None else grid.params.scale
        if len(scale) != 1:
            yield Histograms()
            continue
        real = given[mine.key].real
        accumulated = _histogram(value_at(ours, mine).real, real, scale[0])
        fed = alone.get(mine.key)
        local = None if fed is None else Value(mine.name, fed, mine.quant, mine.grid).real
        yield Histograms(accumulated, None if local is None else _histogram(local, real, scale[0]))


def _histogram(ours: Array, theirs: Array, step: float) -> StepHistogram:
    return step_histogram(lambda: [theirs.reshape(ours.shape).astype("f8") - ours], step)
