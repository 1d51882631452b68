"""Vectors as one ``.npz`` per operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantdiff.paper.vectors import GoldenOperator
from quantdiff.report.vectors.names import stem_of


def write_npz(folder: Path, operator: GoldenOperator) -> dict[str, str]:
    """All vectors of one operator, by role; returns the file by vector."""
    file = f"{stem_of(operator)}.npz"
    np.savez(folder / file, allow_pickle=False, **{vector.key: vector.array for vector in operator.vectors})
    return {vector.key: file for vector in operator.vectors}
