"""From choices to the smallest set of them that is good enough: all sets of a few, greedily from many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.conditions import OPERATORS, Condition
from quantdiff.compare.outcome import value_of
from quantdiff.errors import BadExpression
from quantdiff.ladder.advice.bench import noise
from quantdiff.ladder.advice.choices import IN_THE_FILE, Choice

ALL_SETS = 10
"""Choices of which all sets are tried: 1023."""
ENOUGH = 1e-3
"""Of what is left of the noise: less is no gain."""

Measure = Callable[[Sequence[Sequence[Choice]]], Iterator[Comparison]]
"""What some sets of choices give, one after the other."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Some choices, and the outputs with them beside the reference's, on the file's graph."""

    choices: tuple[Choice, ...]
    then: Comparison


def holds(comparison: Comparison, conditions: Sequence[Condition]) -> bool:
    """Whether a comparison is as good as was asked.

    Raises:
        BadExpression: a metric has no value here.
    """
    return all(_holds(comparison, condition) for condition in conditions)


def _holds(comparison: Comparison, condition: Condition) -> bool:
    value = value_of(comparison, condition.metric)
    if value is None:
        raise BadExpression(f"--until {condition}: {condition.metric} has no value for these outputs; choose another")
    return bool(OPERATORS[condition.sign](value, condition.limit))


def smallest(
    measure: Measure,
    now: tuple[Comparison, Comparison],
    alone: Sequence[Tried],
    others: Sequence[Choice],
    conditions: Sequence[Condition],
) -> Iterator[tuple[Tried, str]]:
    """Better and better sets, each with what is known of it; the last one is the answer.

    ``now``: the file, measured and predicted. ``alone``: every choice by itself, the best first; ``others`` are those
    that were not measured alone. Without conditions everything that helps is taken.
    """
    if conditions and holds(now[0], conditions):
        yield Tried((), now[0]), "nothing needs to change"
        return
    start = Tried((), now[1])
    yield start, ""
    ones = [each for each in alone if conditions and holds(each.then, conditions)]
    if ones:
        yield min(ones, key=_cost), "one choice is enough"
    elif conditions and len(alone) <= ALL_SETS and not others:
        yield from _all_sets(measure, start, alone, conditions)
    else:
        yield from _many(measure, start, alone, others, conditions)


def _all_sets(
    measure: Measure, best: Tried, alone: Sequence[Tried], conditions: Sequence[Condition]
) -> Iterator[tuple[Tried, str]]:
    choices = [choice for each in alone for choice in each.choices]
    best = min((best, *alone), key=lambda each: noise(each.then))
    for size in range(2, len(choices) + 1):
        met = list[Tried]()
        sets = [some for some in combinations(choices, size) if not any(clash(a, b) for a, b in combinations(some, 2))]
        for tried in map(Tried, sets, measure(sets)):
            met += [tried] if holds(tried.then, conditions) else []
            if noise(tried.then) < noise(best.then):
                best = tried
                yield best, ""
        if met:
            yield min(met, key=_cost), f"smallest: all sets of up to {size} choices were tried"
            return
    yield best, f"all sets of these {len(choices)} choices were tried; none is enough"


def _many(
    measure: Measure,
    best: Tried,
    alone: Sequence[Tried],
    others: Sequence[Choice],
    conditions: Sequence[Condition],
) -> Iterator[tuple[Tried, str]]:
    """Greedily; where no single choice helps further, as many as are needed at once; then without what is not."""
    for better in _greedy(measure, best, alone, conditions):
        best = better
        yield best, ""
    if not conditions:
        return
    if not holds(best.then, conditions):
        order = list(best.choices)
        for choice in (*(each.choices[0] for each in alone), *others):
            if not any(choice is each or clash(choice, each) for each in order):
                order.append(choice)
        enough = _enough(measure, order, len(best.choices), conditions)
        if enough is None:
            yield best, f"all {len(order)} choices together are not enough either"
            return
        best = enough
        yield best, ""
    for smaller in _pruned(measure, best, conditions):
        best = smaller
        yield best, ""
    yield best, "not proven smallest"


def _tried(measure: Measure, choices: Sequence[Choice]) -> Tried:
    return Tried((*choices,), next(measure([choices])))


def _cost(tried: Tried) -> tuple[int, int, float]:
    """Of sets of one size: how many operators are finer, how many kernels are stored anew, then what noise is left."""
    finer = frozenset[int]().union(*(choice.operators for choice in tried.choices))
    return len(finer), sum(len(choice.scales) for choice in tried.choices), noise(tried.then)


def _greedy(measure: Measure, best: Tried, alone: Sequence[Tried], conditions: Sequence[Condition]) -> Iterator[Tried]:
    """The choice that takes most noise away, again and again; gains are measured again before one is taken."""
    start, taken = noise(best.then), 0
    waiting = [(start - noise(each.then), 0, each) for each in alone if noise(each.then) < start]
    while waiting and not (conditions and holds(best.then, conditions)):
        waiting.sort(key=lambda each: -each[0])
        gain, measured, tried = waiting.pop(0)
        choice = tried.choices[-1]
        if any(clash(choice, each) for each in best.choices):
            continue
        if measured < taken:
            tried = _tried(measure, (*best.choices, choice))
            gain = noise(best.then) - noise(tried.then)
            if gain > ENOUGH * noise(best.then):
                waiting.append((gain, taken, tried))
            continue
        best, taken = tried, taken + 1
        yield best


def _enough(measure: Measure, order: Sequence[Choice], few: int, conditions: Sequence[Condition]) -> Tried | None:
    """The shortest beginning of an order that is enough, by halving; None where all of it is not."""
    found, many = _tried(measure, order), len(order)
    if not holds(found.then, conditions):
        return None
    while few + 1 < many:
        middle = (few + many) // 2
        tried = _tried(measure, order[:middle])
        if holds(tried.then, conditions):
            found, many = tried, middle
        else:
            few = middle
    return found


def _pruned(measure: Measure, best: Tried, conditions: Sequence[Condition]) -> Iterator[Tried]:
    """The set without what it does not need: halves of it, quarters, at last single choices are left out."""
    size = len(best.choices) // 2
    while size:
        for at in range(len(best.choices) - size, -1, -size):
            tried = _tried(measure, best.choices[:at] + best.choices[at + size :])
            if holds(tried.then, conditions):
                best = tried
                yield best
        size //= 2


def clash(one: Choice, other: Choice) -> bool:
    """Whether two choices are about the same thing."""
    alike = one.grids.keys() & other.grids.keys() or one.constants.keys() & other.constants.keys()
    return one.kind in IN_THE_FILE and other.kind in IN_THE_FILE and bool(alike)
