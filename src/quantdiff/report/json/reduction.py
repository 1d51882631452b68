"""A reduced model for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantdiff.search.fault import INPUTS
from quantdiff.search.reduction import Reduction


def reduction_document(found: Reduction, out: Path) -> dict[str, Any]:
    """What is left, what it says, and the command that shows it."""
    part, bare = found.left, found.anonymous
    return {
        "schema": "quantdiff/1",
        "check": found.check,
        "before": found.before,
        "after": part.says,
        "operators": [int(name.partition(" ")[0]) for name in part.operators],
        "operators_before": found.operators,
        "samples": len(part.rows),
        "samples_before": found.samples,
        "data": found.data,
        "bytes": {name: len(content) for name, content in part.models.items()},
        "bytes_before": found.size,
        "tries": found.search.tries,
        "ended": found.search.ended,
        "anonymous": None if bare is None else {"replaced": bare.replaced, "kept": [*bare.kept]},
        "command": found.line(out),
        "artifacts": {**{name: str(out / name) for name in part.models}, "data": str(out / INPUTS)},
    }
