"""The worst inputs, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantdiff.report.text.account import sentence
from quantdiff.search.worst_case import WorstCase


def worst_text(found: WorstCase, out: Path) -> str:
    """How far it goes, from where, what makes it, and where the inputs are."""
    return "\n".join(_lines(found, out))


def _lines(found: WorstCase, out: Path) -> Iterator[str]:
    yield from (f"note: {warning}" for warning in found.warnings)
    where = "anywhere in the range" if found.near is None else f"within {found.near:g} of a sample"
    yield f"{found.reference} and {found.candidate}, inputs {where}: {found.tried:,} tried in {found.seconds:.0f} s"
    yield f"largest error   {_error(found, found.inputs[0].error)}; in the {found.samples:,} samples {_error(found, found.known)}"
    if found.known_margin is not None and not found.interrupted:
        yield f"other decision  {_flip(found)}"
    if found.explanation is not None:
        yield f"what makes it   {sentence(found.explanation)}"
    elif found.unexplained:
        yield f"what makes it   not told: {found.unexplained}"
    yield f"{out}: {len(found.inputs)} inputs, the largest error first" + (
        "" if found.interrupted else f", each confirmed alone on {found.candidate}"
    )


def _error(found: WorstCase, error: float) -> str:
    return f"{error * found.unit:.6g}" + (f" ({error:.1f} steps)" if found.steps else "")


def _flip(found: WorstCase) -> str:
    if found.flip is None:
        return "none found"
    place = found.inputs.index(found.flip)
    before = found.known_margin or 0.0
    known = f"; in the samples {before:.6g}" if before > 0 else "; none in the samples"
    return f"input {place}, by {found.flip.margin:.6g} on both sides{known}"
