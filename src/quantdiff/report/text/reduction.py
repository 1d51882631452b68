"""A reduced model, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantdiff.report.text.extract import few
from quantdiff.report.text.terminal import prepared_data
from quantdiff.search.anonymous import Anonymous
from quantdiff.search.fault import MODEL
from quantdiff.search.reduction import Reduction

ENDED = {
    "time": "; the time was over, so it may not be the smallest",
    "interrupted": "; interrupted, the smallest so far",
}


def reduction_text(found: Reduction, out: Path) -> str:
    """What is left of what, what it says, and the command that shows it."""
    return "\n".join(_lines(found, out))


def _lines(found: Reduction, out: Path) -> Iterator[str]:
    part = found.left
    whole = f"{found.operators} operators, {found.samples:,} samples{prepared_data(found.data)}, {found.size:,} bytes"
    yield f"the whole: {found.before}, with {whole}"
    yield (
        f"{out}: {part.says}, with {few(part.operators)}, {len(part.rows)} of the samples, "
        f"{len(part.models[MODEL]):,} bytes"
    )
    yield f"{found.search.tries} parts tried{ENDED.get(found.search.ended, '')}"
    if found.anonymous is not None:
        yield _anonymous(found.anonymous)
    yield f"see it: {found.line(out)}"


def _anonymous(bare: Anonymous) -> str:
    if not bare.kept:
        return "other names, other values in all constants and inputs"
    count = bare.replaced + len(bare.kept)
    changed = f"other names, other values in {bare.replaced} of {count} constants and inputs"
    return f"{changed}: the fault needs {few(bare.kept)}"
