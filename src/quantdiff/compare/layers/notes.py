"""What happened to the layers inside a pair, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from quantdiff.align.alignment import Alignment
from quantdiff.align.constants import bias_moved, inputs_scaled
from quantdiff.align.leftovers import RESCALED, VANISHED, core, explained, segments
from quantdiff.flow import FlowValue
from quantdiff.ops import BATCH_NORM, CLAMPS, INTO_INTEGERS

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
    """A scale in front, such as a norm's gamma, that is a part of the weights."""
    if core(other).is_weighted and inputs_scaled(mine, core(other)):
        yield "its weights hold a scale of their inputs, channel by channel"


def _ends(other: Sequence[FlowValue]) -> Iterator[str]:
    """Integers that a float operator does not make itself, or that are put on another grid on the way."""
    if core(other) is not other[-1] and core(other).op != "input" and core(other).grid is None:
        yield "computed in float, then quantized"
    grids = {place.key: place.grid for place in other}
    if any(place.op == INTO_INTEGERS and grids.get(place.feeds[0]) is not None for place in other):
        yield "put on another grid first"
