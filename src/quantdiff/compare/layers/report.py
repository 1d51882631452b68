"""LayerReport: what ``diff --layers`` found for one pair of engines, as one value that text and JSON render."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from quantdiff.align.alignment import Alignment, Leftover
from quantdiff.align.leftovers import RESCALED, core, segments
from quantdiff.compare.layers.drawing import Drawing
from quantdiff.compare.layers.figures import Flip, LayerFigures, WorstSample, figures_of
from quantdiff.compare.layers.notes import notes_of
from quantdiff.compare.layers.watch import LayerCounts, PairStats
from quantdiff.flow import Flow, FlowValue
from quantdiff.load.data import Order
from quantdiff.shown import Shown

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
