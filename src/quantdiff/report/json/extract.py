"""A part of a model for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantdiff.run.extracts import Extract


def extract_document(part: Extract, model: Path, out: Path, inputs: Path | None) -> dict[str, Any]:
    """What was cut out, where it stands now, and whether it gives what it gives in the whole."""
    return {
        "schema": "quantdiff/1",
        "model": str(model),
        "operators": [int(name.partition(" ")[0]) for name in part.names],
        "inputs": [*part.ends[0]],
        "outputs": [*part.ends[1]],
        "data": part.source,
        "samples": len(part.batch),
        "runtime": part.runtime,
        "bytes": len(part.model),
        "count": part.count,
        "mismatches": part.mismatches,
        "artifacts": {"model": str(out), "data": None if inputs is None else str(inputs)},
    }
