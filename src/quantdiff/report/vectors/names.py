"""What files and C names of an operator begin with."""

from __future__ import annotations

import re

from quantdiff.paper.vectors import GoldenOperator

LONGEST = 40


def stem_of(operator: GoldenOperator) -> str:
    """``op_003_conv_2d``: the index, and the op's name in characters that every file system and C take."""
    name = re.sub(r"[^a-z0-9]+", "_", operator.operator.op.lower()).strip("_")[:LONGEST]
    return f"op_{operator.operator.index:03}_{name}"
