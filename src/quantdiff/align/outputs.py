"""Which output of the reference belongs to which output of the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import Array
from quantdiff.trace import Trace, Value

TRIED_AT_MOST = 6  # outputs; 720 orders

Pairs = tuple[tuple[Value, Value], ...]


def pair_outputs(reference: Trace, candidate: Trace) -> tuple[Pairs, tuple[str, ...]]:
    """Pairs in the reference's order, and what a reader should know about how they were found.

    Raises:
        NotComparable: another number of outputs, or no order in which the shapes fit.
    """
    ours, theirs = reference.outputs, candidate.outputs
    if len(ours) != len(theirs):
        raise NotComparable(
            f"{reference.engine} has {len(ours)} output(s), {candidate.engine} has {len(theirs)}; "
            "these models are not made from each other"
        )
    sides = (([value.name for value in each], [value.real for value in each]) for each in (ours, theirs))
    order = order_of_outputs(*sides)
    if order is None:
        raise NotComparable(
            f"output shapes differ: {reference.engine} gives {_shapes(ours)}, "
            f"{candidate.engine} gives {_shapes(theirs)}"
        )
    named = {plain(value.name) for value in ours} == {plain(value.name) for value in theirs}
    alike = len({_squeezed(value.array) for value in ours}) < len(ours)
    note = "outputs have the same shapes and other names; paired by the smallest difference of values"
    return tuple((value, theirs[at]) for value, at in zip(ours, order, strict=True)), (note,) * (alike and not named)


Side = tuple[Sequence[str], Sequence[Array]]


def order_of_outputs(ours: Side, theirs: Side) -> tuple[int, ...] | None:
    """For each output of the one side (names, real values) the number of the other's; None where no order fits.

    By name where both sides use the same names (TFMOT's ``quant_`` aside), else by shape. Converters reorder
    outputs, so where several orders fit the shapes the one with the smallest difference of values is taken.
    """
    (names, values), (others, those) = ours, theirs
    named = {plain(name): i for i, name in enumerate(others)}
    if len(named) == len(others) and {plain(name) for name in names} == set(named):
        by_name = tuple(named[plain(name)] for name in names)
        if all(fits(a, those[i]) for a, i in zip(values, by_name, strict=True)):
            return by_name
    orders = permutations(range(len(others))) if len(others) <= TRIED_AT_MOST else iter([tuple(range(len(others)))])
    fitting = [order for order in orders if all(fits(a, those[i]) for a, i in zip(values, order, strict=True))]
    if len(fitting) < 2:  # noqa: PLR2004 (nothing to choose)
        return fitting[0] if fitting else None
    return min(fitting, key=lambda order: sum(_distance(a, those[i]) for a, i in zip(values, order, strict=True)))


def plain(name: str) -> str:
    """An output's name without what tools add to it: TFMOT's ``quant_``, TensorFlow's ``:0``."""
    return name.removesuffix(":0").removeprefix("quant_")


def fits(a: Array, b: Array) -> bool:
    """Same number of samples, same shape apart from axes of size 1."""
    return a.shape[:1] == b.shape[:1] and _squeezed(a) == _squeezed(b)


def _squeezed(array: Array) -> tuple[int, ...]:
    return tuple(n for n in array.shape[1:] if n != 1)


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a.ravel().astype(np.float64) - b.ravel()).mean())


def _shapes(values: tuple[Value, ...]) -> str:
    return ", ".join(f"{value.name} {value.array.shape}" for value in values)
