"""The worst inputs, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantdiff.ladder.explanation import Explanation
from quantdiff.report.text.account import sentence
from quantdiff.report.text.terminal import prepared_data
from quantdiff.search.bound import Bound
from quantdiff.search.worst_case import WorstCase

USELESS = 100.0
"""From which looseness a bound says nothing."""


def worst_text(found: WorstCase, out: Path) -> str:
    """How far it goes, from where, what makes it, and where the inputs are."""
    return "\n".join(_lines(found, out))


def _lines(found: WorstCase, out: Path) -> Iterator[str]:
    yield from (f"note: {warning}" for warning in found.warnings)
    where = "anywhere in the range" if found.near is None else f"within {found.near:g} of a sample"
    yield f"{found.reference} and {found.candidate}, inputs {where}: {found.tried:,} tried in {found.seconds:.0f} s"
    data = prepared_data(str(found.made_by.get("data", "")))
    known = f"in the {found.samples:,} samples{data} {_error(found, found.known)}"
    first = found.inputs[0]
    ends = f"; diff counts {first.max_steps} of these steps, since the output's grid ends there" if first.beyond else ""
    yield f"largest error   {_error(found, first.error)}; {known}{ends}"
    if found.inside is not None and found.inside.within is not None:
        known = f"in the samples {_error(found, found.known_within)}"
        place = found.inputs.index(found.inside)
        yield f"within its grid {_error(found, found.inside.within)}, input {place}; {known}"
    if found.known_margin is not None and not found.interrupted:
        yield f"other decision  {_flip(found)}"
    if found.explanation is not None:
        yield f"what makes it   {_cause(found.explanation, found.inputs[0].error)}"
    elif found.unexplained:
        yield f"what makes it   not told: {found.unexplained}"
    if found.bound is not None:
        yield from _bound(found, found.bound)
    yield f"{out}: {len(found.inputs)} inputs, the largest error first" + (
        "" if found.interrupted else f", each confirmed alone on {found.candidate}"
    )


def _cause(told: Explanation, error: float) -> str:
    """The account, which counts on the output's grid; before it what lies beyond that."""
    beyond = 0.0 if told.saturated is None else told.saturated.max_steps
    if beyond < error / 2:
        return sentence(told)
    outside = f"the output's own grid: the reference goes {beyond:,.1f} steps beyond its end"
    return outside if not told.differing else f"{outside}. Within it {sentence(told)}"


def _bound(found: WorstCase, bound: Bound) -> Iterator[str]:
    if bound.error is None or bound.unclipped is None:
        yield f"bound           none: {bound.stopped}"
        return
    loose = found.looseness
    told = "" if loose is None else f"; {loose:,.1f} times what was found"
    if loose is not None and loose > USELESS:
        told += f", which says nothing: intervals widen with each of {bound.operators} operators"
    near = "" if found.near is None else f" so near to one of the first {bound.samples} samples"
    yield f"bound           {_error(found, bound.error)} for every input{near}{told}"
    if bound.unclipped < bound.error:
        yield f"                {_error(found, bound.unclipped)} where no tensor reaches an end of its grid"
    if bound.settled is not None:
        yield f"settled         {bound.settled:.0%} of {bound.samples} samples: the file cannot decide otherwise there"


def _error(found: WorstCase, error: float) -> str:
    return f"{error * found.unit:.6g}" + (f" ({error:.1f} steps)" if found.steps else "")


def _flip(found: WorstCase) -> str:
    if found.flip is None:
        return "none found"
    place = found.inputs.index(found.flip)
    before = found.known_margin or 0.0
    known = f"; in the samples {before:.6g}" if before > 0 else "; none in the samples"
    return f"input {place}, by {found.flip.margin:.6g} on both sides{known}"
