"""LayerReport: what ``diff --layers`` found for one pair of engines, as one value that text and JSON render."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quantdiff.align.flows import Leftover, Match
from quantdiff.compare.layers.decisions import Decisions, Flip, WorstSample
from quantdiff.compare.layers.figures import LayerFigures, figures_of
from quantdiff.compare.layers.watch import Pairing, PairSums
from quantdiff.run.flow import Flow, Place

FOLDED = {"BatchNormalization": "batch norm folded", "ReLU": "activation fused", "Activation": "activation fused"}
VANISHED = ("Flatten", "Reshape", "Dropout", "QuantizeLayer", "InputLayer", "input", "Permute", "SpatialDropout2D")


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One pair: the value of a layer and the tensor that it became; ``inside`` are layers or operators within.

    ``figures`` are accumulated, as it happens; ``local`` those of this layer alone, fed with the candidate's own
    input; None where the reference cannot be fed. ``notes`` say what was folded, fused, left out or split.
    """

    reference: str
    candidate: str
    layer: str
    op: str
    found_by: str
    distance: float
    notes: tuple[str, ...]
    figures: LayerFigures
    local: LayerFigures | None
    reference_inside: tuple[str, ...] = ()
    candidate_inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerReport:
    """All pairs of two engines in the reference's order, what has no partner, and where to look first.

    ``first_differing`` and ``adds_most`` are places in ``layers``: the first where anything differs, and the one with
    the lowest SQNR of its own.
    """

    reference: str
    candidate: str
    layers: tuple[LayerResult, ...]
    only_reference: tuple[Leftover, ...]
    only_candidate: tuple[Leftover, ...]
    first_differing: int | None = None
    adds_most: int | None = None
    worst_samples: tuple[WorstSample, ...] = ()
    flips: tuple[Flip, ...] = ()
    flipped: int = 0
    decided: int = 0
    notes: tuple[str, ...] = ()


def ends_of(pairing: Pairing) -> tuple[frozenset[int], tuple[str, ...]]:
    """The pairs at the ends of the models, by number, and a note for each end that only one side has."""
    by_reference = {match.reference: i for i, match in enumerate(pairing.matching.matches)}
    by_candidate = {match.candidate: i for i, match in enumerate(pairing.matching.matches)}
    found, notes = set(), []
    for flow, paired, side in (
        (pairing.reference, by_reference, "reference"),
        (pairing.candidate, by_candidate, "candidate"),
    ):
        for key in flow.outputs:
            end, passed = _last_paired(flow, key, paired)
            if end is not None:
                found.add(end)
                notes += [
                    f"{place.op} ({place.name}) at the end of the {side} only: compared before it" for place in passed
                ]
    return frozenset(found), tuple(dict.fromkeys(notes))


def _last_paired(flow: Flow, key: int, paired: dict[int, int]) -> tuple[int | None, list[Place]]:
    """The pair that an output comes from, and the places after it, the last first."""
    places, passed = flow.by_key(), list[Place]()
    while key not in paired:
        passed.append(places[key])
        if len(places[key].feeds) != 1:
            return None, passed
        (key,) = places[key].feeds
    return paired[key], passed


def report_of(
    pairing: Pairing, sums: Sequence[PairSums], decisions: Decisions, notes: tuple[str, ...] = ()
) -> LayerReport:
    """Everything after the last sample."""
    layers = tuple(_results(pairing, sums))
    return LayerReport(
        pairing.reference.engine,
        pairing.candidate.engine,
        layers,
        pairing.matching.only_reference,
        pairing.matching.only_candidate,
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


def _results(pairing: Pairing, sums: Sequence[PairSums]) -> Iterator[LayerResult]:
    ours, theirs = pairing.reference.by_key(), pairing.candidate.by_key()
    for match, (a, b), grid, total in zip(
        pairing.matching.matches, pairing.places(), pairing.grids(), sums, strict=True
    ):
        yield LayerResult(
            reference=a.name,
            candidate=b.name,
            layer=a.op,
            op=b.op,
            found_by=match.found_by,
            distance=match.distance,
            notes=tuple(
                _notes([ours[k] for k in match.reference_inside], [theirs[k] for k in match.candidate_inside], b, match)
            ),
            figures=figures_of(total.accumulated, grid),
            local=figures_of(total.local, grid) if total.local.count else None,
            reference_inside=tuple(ours[k].name for k in match.reference_inside),
            candidate_inside=tuple(theirs[k].name for k in match.candidate_inside),
        )


def _notes(ours: Sequence[Place], theirs: Sequence[Place], candidate: Place, match: Match) -> Iterator[str]:
    for place in ours:
        if place.op in FOLDED:
            yield f"{FOLDED[place.op]}: {place.name}"
        elif place.op in VANISHED:
            yield f"vanished: {place.name}"
        else:
            yield f"together with {place.name}"
    if theirs:
        yield "split: " + " + ".join((*(place.op for place in theirs), candidate.op))
    if match.flat:
        yield "hardly varies: the values do not contradict, they cannot confirm"
