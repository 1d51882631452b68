"""What share of the error each mechanism has in the mean over all orders: the frontier's own order is held beside it.

Shapley, "A value for n-person games", 1953, with the power of the error as the value of a set of mechanisms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np

from quantdiff.ladder.frontier import Frontier, defined
from quantdiff.ladder.mechanisms import KERNEL
from quantdiff.ladder.switches import SWITCHES
from quantdiff.quant import Array

MOST, HEAVY = 7, 2**25
"""Mechanisms, and values of all tensors in all the runs together: the graph runs once for each set of mechanisms."""


def in_all_orders(frontier: Frontier, acting: Iterable[str], before: Array) -> Mapping[str, float] | None:
    """By mechanism the power, in steps², that it adds to the error in the mean over all orders in which they come.

    ``before`` is what the error has already before the first mechanism, in steps. Shape: (samples, elements of all
    outputs). None where there are too many mechanisms or values, or 1/0 stands somewhere.
    """
    players = [m for m in (*SWITCHES, KERNEL) if m in acting]
    values = sum(array[:1].size for array in frontier.recorded.values()) * len(frontier.inputs[0])
    if len(players) > MOST or values * 2 ** len(players) > HEAVY:
        return None
    others, kernels = frozenset(SWITCHES) - set(players), _kernels(frontier)
    outputs: dict[frozenset[str], Array] = {}
    for some in _sets(players):
        setting = frontier.switches.setting((some | others) - {KERNEL})
        outputs[some] = frontier.outputs({}, replace(setting, added=kernels if KERNEL in some else {}))
        if not defined(outputs[some]):
            return None
    power = {some: float(np.square(made - outputs[frozenset()] + before).sum()) for some, made in outputs.items()}
    return {m: mean_gain(power, m, players) for m in players}


def mean_gain(power: Mapping[frozenset[str], float], mechanism: str, players: Sequence[str]) -> float:
    """What a mechanism adds in the mean over all orders; ``power`` holds every set of the ``players``."""
    count, total = len(players), 0.0
    for some in _sets([m for m in players if m != mechanism]):
        weight = factorial(len(some)) * factorial(count - len(some) - 1) / factorial(count)
        total += weight * (power[some | {mechanism}] - power[some])
    return total


def _sets(names: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


def _kernels(frontier: Frontier) -> dict[int, Array]:
    """By tensor what the runtime's arithmetic adds to the exact one, both fed with the runtime's own values."""
    found: dict[int, Array] = {}
    for stage, each in enumerate(frontier.stages):
        *_, (_, exact), (_, recorded) = frontier.within(stage)
        tensors = (each,) if isinstance(each, int) else each.outputs
        found |= {i: theirs - ours for i, ours, theirs in zip(tensors, exact, recorded, strict=True)}
    return found
