"""Which output of the reference belongs to which output of the candidate."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.trace import Trace, Value

TRIED_AT_MOST = 6  # outputs; 720 orders

Pairs = tuple[tuple[Value, Value], ...]


def pair_outputs(reference: Trace, candidate: Trace) -> tuple[Pairs, tuple[str, ...]]:
    """Pairs in the reference's order, and what a reader should know about how they were found.

    By name where both sides use the same names (TFMOT's ``quant_`` aside), else by shape. Converters reorder
    outputs, so where several orders fit the shapes the one with the smallest difference of values is taken.

    Raises:
        NotComparable: another number of outputs, or no order in which the shapes fit.
    """
    ours, theirs = reference.outputs, candidate.outputs
    if len(ours) != len(theirs):
        raise NotComparable(
            f"{reference.engine} has {len(ours)} output(s), {candidate.engine} has {len(theirs)}; "
            "these models are not made from each other"
        )
    named = {plain(value.name): value for value in theirs}
    if len(named) == len(theirs) and {plain(value.name) for value in ours} == set(named):
        pairs = tuple((value, named[plain(value.name)]) for value in ours)
        if all(fits(a, b) for a, b in pairs):
            return pairs, ()
    orders = permutations(theirs) if len(theirs) <= TRIED_AT_MOST else iter([theirs])
    fitting = [order for order in orders if all(fits(a, b) for a, b in zip(ours, order, strict=True))]
    if not fitting:
        raise NotComparable(
            f"output shapes differ: {reference.engine} gives {_shapes(ours)}, "
            f"{candidate.engine} gives {_shapes(theirs)}"
        )
    if len(fitting) == 1:
        return tuple(zip(ours, fitting[0], strict=True)), ()
    best = min(fitting, key=lambda order: sum(_distance(a, b) for a, b in zip(ours, order, strict=True)))
    note = "outputs have the same shapes and other names; paired by the smallest difference of values"
    return tuple(zip(ours, best, strict=True)), (note,)


def plain(name: str) -> str:
    """An output's name without what tools add to it: TFMOT's ``quant_``, TensorFlow's ``:0``."""
    return name.removesuffix(":0").removeprefix("quant_")


def fits(a: Value, b: Value) -> bool:
    """Same number of samples, same shape apart from axes of size 1."""
    return a.array.shape[:1] == b.array.shape[:1] and _squeezed(a) == _squeezed(b)


def _squeezed(value: Value) -> tuple[int, ...]:
    return tuple(n for n in value.array.shape[1:] if n != 1)


def _distance(a: Value, b: Value) -> float:
    return float(np.abs(a.real.ravel().astype(np.float64) - b.real.ravel()).mean())


def _shapes(values: tuple[Value, ...]) -> str:
    return ", ".join(f"{value.name} {value.array.shape}" for value in values)
