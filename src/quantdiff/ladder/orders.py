"""What each mechanism does in any order: the frontier's own order, and the ladder's, are held beside it.

Shapley, "A value for n-person games", 1953, with the power of the error as the value of a set of mechanisms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial

import numpy as np

from quantdiff.ladder.frontier import Frontier, defined
from quantdiff.ladder.mechanisms import KERNEL
from quantdiff.ladder.switches import SWITCHES
from quantdiff.quant import Array

MOST, HEAVY = 7, 2**25
"""Mechanisms, and values of all tensors in all the runs together: the graph runs once for each set of mechanisms."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What every set of the mechanisms that act makes of some samples.

    By set: ``power`` of the error, in steps², and how many of the outputs on a grid are ``right``, the runtime's.
    ``alone``: by mechanism how many of these differ from the reference's when it alone acts.
    """

    acting: tuple[str, ...]
    power: Mapping[frozenset[str], float]
    right: Mapping[frozenset[str], int]
    alone: Mapping[str, int]

    def mean_gain(self, mechanism: str) -> float:
        """The power, in steps², that a mechanism adds in the mean over all orders in which they come."""
        count, total = len(self.acting), 0.0
        for some in _sets([m for m in self.acting if m != mechanism]):
            weight = factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count)
            total += weight * (self.power[some | {mechanism}] - self.power[some])
        return total

    def without(self, mechanism: str) -> int:
        """How many outputs differ from the runtime's when all but this mechanism act."""
        whole = frozenset(self.acting)
        return self.right[whole] - self.right[whole - {mechanism}]

    def come_right(self, mechanism: str) -> tuple[int, int]:
        """The fewest and the most outputs that come right with a mechanism; those that it makes wrong are taken off."""
        others = _sets([m for m in self.acting if m != mechanism])
        gains = [self.right[some | {mechanism}] - self.right[some] for some in others]
        return min(gains), max(gains)


def joined(parts: Sequence[Orders]) -> Orders:
    """Several samples' together; what does not act on some of them changes nothing there."""
    acting = tuple(m for m in (*SWITCHES, KERNEL) if any(m in part.acting for part in parts))
    own = [(part, frozenset(part.acting)) for part in parts]
    return Orders(
        acting,
        {some: sum(part.power[some & known] for part, known in own) for some in _sets(acting)},
        {some: sum(part.right[some & known] for part, known in own) for some in _sets(acting)},
        {m: sum(part.alone.get(m, 0) for part in parts) for m in acting},
    )


def in_all_orders(frontier: Frontier, acting: Iterable[str], before: Array, last: Array) -> Orders | None:
    """Every set of the mechanisms that act on these samples.

    ``before`` is what the error has already before the first mechanism, ``last`` the outputs with all exchanged, in
    steps. Shapes: (samples, elements of all outputs). None where there are too many mechanisms or values, or 1/0
    stands somewhere.
    """
    players = tuple(m for m in (*SWITCHES, KERNEL) if m in acting)
    values = sum(array[:1].size for array in frontier.recorded.values()) * len(frontier.inputs[0])
    if len(players) > MOST or values * 2 ** len(players) > HEAVY:
        return None
    others, added = frozenset(SWITCHES) - set(players), _added(frontier)
    outputs: dict[frozenset[str], Array] = {}
    for some in _sets(players):
        setting = frontier.switches.setting((some | others) - {KERNEL})
        outputs[some] = frontier.outputs({}, replace(setting, added=_together(added, some | others)))
        if not defined(outputs[some]):
            return None
    codes, bare = _stored(frontier, last), _stored(frontier, outputs[frozenset()])
    return Orders(
        players,
        {some: float(np.square(made - outputs[frozenset()] + before).sum()) for some, made in outputs.items()},
        {some: int(np.count_nonzero(_stored(frontier, made) == codes)) for some, made in outputs.items()},
        {m: int(np.count_nonzero(_stored(frontier, outputs[frozenset({m})]) != bare)) for m in players},
    )


def _stored(frontier: Frontier, outputs: Array) -> Array:
    """The integers of the outputs that lie on a grid. Shapes: (samples, elements of all) -> (samples, elements)."""
    file, at, found = frontier.switches.file, 0, [np.zeros((len(outputs), 0), np.int64)]
    for tensor, end, unit in zip(file.graph.outputs, frontier.switches.ends, frontier.units, strict=True):
        size = math.prod(frontier.switches.shapes.get(tensor, file.graph.tensors[tensor].shape))
        if end is not None:
            found.append(file.grids[end].integers(outputs[:, at : at + size] * unit))
        at += size
    return np.concatenate(found, axis=1)


def _sets(names: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


def _added(frontier: Frontier) -> dict[str, dict[int, Array]]:
    """By tensor what the runtime's arithmetic adds to the exact one, both fed with the runtime's own values.

    That is its kernels' part, and how it rounds ties, which goes with what rounds.
    """
    found: dict[str, dict[int, Array]] = {KERNEL: {}}
    for stage, each in enumerate(frontier.stages):
        if isinstance(each, int):  # an input is put on its grid, which is a mechanism of its own and no kernel's
            continue
        *_, (mechanism, exact), (_, recorded) = frontier.within(stage)
        *_, (_, upwards), _ = frontier.within(stage, ties=False)
        for i, plain, near, theirs in zip(each.outputs, upwards, exact, recorded, strict=True):
            if theirs.dtype.kind == "b":  # truth values are not added to
                continue
            found[KERNEL][i] = theirs - near
            if near is not plain:
                found.setdefault(mechanism, {})[i] = near - plain
    return found


def _together(added: Mapping[str, Mapping[int, Array]], mechanisms: Iterable[str]) -> dict[int, Array]:
    found: dict[int, Array] = {}
    for tensor, values in (item for m in mechanisms for item in added.get(m, {}).items()):
        found[tensor] = found[tensor] + values if tensor in found else values
    return found
