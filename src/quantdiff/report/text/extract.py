"""A part of a model, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from quantdiff.files import split_part
from quantdiff.report.text.terminal import short
from quantdiff.run.extracts import Extract

SHOWN = 8  # operators or tensors in a line


def extract_text(part: Extract, model: Path, out: Path, inputs: Path | None) -> str:
    """What was cut out of what, where it stands now, and whether it gives what it gives in the whole."""
    return "\n".join(_lines(part, model, out, inputs))


def _lines(part: Extract, model: Path, out: Path, inputs: Path | None) -> Iterator[str]:
    size = split_part(model)[0].stat().st_size
    yield f"{out}: {few(part.names)}; {len(part.model):,} bytes of {size:,}"
    yield f"takes {few([*map(short, part.ends[0])])}"
    yield f"gives {few([*map(short, part.ends[1])])}"
    if inputs is not None:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in part.batch.arrays.items())
        yield f"{inputs}: {shapes}, as {part.runtime} had them"
    what = f"{len(part.batch):,} samples of {part.source} on {part.runtime}"
    if part.mismatches:
        yield f"{part.mismatches:,} of {part.count:,} values come out otherwise than in the whole: {what}"
    else:
        yield f"gives what it gives in the whole, bit for bit: {part.count:,} values, {what}"


def few(names: Sequence[str]) -> str:
    """The first of many names."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
