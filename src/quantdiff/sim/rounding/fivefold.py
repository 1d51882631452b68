"""How ``builtin`` walks through two operands that broadcast, which decides what falls into its vectors.

LiteRT ``tflite/kernels/internal/optimized/optimized_ops.h`` (``ProcessBroadcastShapes``, ``BinaryBroadcastFiveFold``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Elements of the output that one inner loop computes, and whether one operand is a single value there."""

    length: int
    is_scalar: bool


def section_of(a: Shape, b: Shape) -> Section | None:
    """The inner loop for two shapes, or None where there are more than five loops: then there are no vectors."""
    rank = max(len(a), len(b))
    pairs = [*zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)]
    unequal = [pair for pair in pairs if pair[0] != pair[1]]
    if not unequal:
        return Section(prod(a), False)
    if unequal[-1][0] != 1:  # the one that repeats first comes first
        pairs = [(right, left) for left, right in pairs]

    def taken(fits: Callable[[int, int], bool]) -> int:
        size = 1
        while pairs and fits(*pairs[-1]):
            size *= max(pairs.pop())
        return size

    equal = taken(lambda left, right: left == right)
    repeated = taken(lambda left, _: left == 1)
    taken(lambda left, right: left == right)
    taken(lambda _, right: right == 1)
    taken(lambda left, right: left == right)
    if pairs:
        return None
    return Section(equal, False) if equal > 1 else Section(repeated, True)
