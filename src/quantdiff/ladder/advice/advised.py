"""The advice for a file: what each choice would do, ranked, and the smallest set of them that is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.conditions import OPERATORS, Condition
from quantdiff.compare.outcome import value_of
from quantdiff.errors import BadExpression, BadModel
from quantdiff.ladder.advice.bench import Bench, noise
from quantdiff.ladder.advice.choices import choices_of, met_of, promising, shifts_of
from quantdiff.ladder.advice.equalized import equalizations
from quantdiff.ladder.advice.plans import IN_THE_FILE, Choice
from quantdiff.lazy import Shown
from quantdiff.run.runner import Progress

MOST = 60
"""Choices that are measured; those that promise most where they stand."""
ASTRAY_DB = 1.0
"""How far the prediction of the file as it is may lie from the file."""


@dataclass(frozen=True, slots=True)
class Advised(Shown):
    """What was found so far.

    Attributes:
        now: the file itself, on the runtime, beside the reference.
        plain: the same, predicted as the choices are: what their gains are counted from.
        alone: every choice by itself, predicted, the best first.
        chosen: the set that is enough, else the best one, predicted; None before one was tried.
        until: what was asked of it.
        proven: what is known of the set's size.
        considered: how many choices there were, of which ``alone`` were measured.
        complete: False where it was broken off.
        measured: the file that was written, on the runtime; None where none was.
        files: what was written, by what it is.
        notes: what else is to be known.
        made_by: how the figures came about.
        artifacts: models and data.
    """

    now: Comparison
    plain: Comparison
    alone: tuple[Tried, ...] = ()
    chosen: Tried | None = None
    until: tuple[Condition, ...] = ()
    proven: str = ""
    considered: int = 0
    complete: bool = False
    measured: Comparison | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether what was asked is predicted to hold."""
        return self.chosen is not None and holds(self.chosen.then, self.until)


def advised(
    bench: Bench, until: Sequence[Condition], kinds: Sequence[str], progress: Progress, *, choose: bool
) -> Iterator[Advised]:
    """Better and better advice; whoever stops listening has the best so far.

    ``kinds``: those of the choices that may be made. ``choose``: a set is wanted even where nothing is asked of it.

    Raises:
        BadExpression: a metric has no value here.
        BadModel: the file cannot be written in floats.
        RuntimeFailed: a runtime does not run it.
    """
    now = bench.now
    holds(now, until)  # refuses what has no value, before anything is tried
    plain = next(bench.each([()]))
    if plain is None:
        raise BadModel("the file's own grids make outputs undefined in real arithmetic; there is no advice for it")
    found = Advised(now, plain, until=tuple(until), notes=_astray(now, plain))
    yield found
    seen = bench.seen()
    met = met_of(seen)
    possible = (*choices_of(bench.switches, met, shifts_of(bench.switches, seen)), *equalizations(bench.switches, met))
    every = [choice for choice in possible if choice.kind in kinds]
    chosen = promising(bench.switches, every, met, MOST)
    found = replace(found, considered=len(every))
    measured = bench.each([(choice,) for choice in chosen])
    for done, (choice, then) in enumerate(zip(chosen, measured, strict=True), start=1):
        if then is not None:
            found = replace(found, alone=_ranked((*found.alone, Tried((choice,), then))))
        progress("choices", done, len(chosen))
        yield found
    found = replace(found, notes=(*found.notes, *_left_out(len(chosen) - len(found.alone))))
    if until or choose:
        yield from _chosen(bench, found, [c for c in every if not any(c is each for each in chosen)], progress)
        return
    yield replace(found, complete=True)


def _chosen(bench: Bench, found: Advised, others: Sequence[Choice], progress: Progress) -> Iterator[Advised]:
    asked = 0

    def measure(sets: Sequence[Sequence[Choice]]) -> Iterator[Comparison]:
        nonlocal asked
        for then in bench.each(sets):
            asked += 1
            progress("sets", asked, 0)
            yield found.plain if then is None else then  # undefined: no gain

    for best, proven in smallest(measure, (found.now, found.plain), found.alone, others, found.until):
        found = replace(found, chosen=best, proven=proven)
        yield found
    yield replace(found, complete=True)


def _astray(now: Comparison, plain: Comparison) -> tuple[str, ...]:
    """What must be known where the file is not what is predicted of it."""
    measured, predicted = now.figures.sqnr_db, plain.figures.sqnr_db
    if measured == predicted or abs(measured - predicted) <= ASTRAY_DB:
        return ()
    return (
        f"the file has {measured:.2f} dB, predicted are {predicted:.2f} dB: it does more, or less, than round to its "
        "grids; take what is predicted for a hint",
    )


def _left_out(count: int) -> tuple[str, ...]:
    """That some choices have no figures."""
    if not count:
        return ()
    choices = "1 choice is" if count == 1 else f"{count} choices are"
    return (f"{choices} left out: no runtime computes the file so, or its outputs are undefined",)


def _ranked(tried: Sequence[Tried]) -> tuple[Tried, ...]:
    return tuple(sorted(tried, key=lambda each: noise(each.then)))


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
