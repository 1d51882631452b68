"""The advice for a file: what each choice would do, ranked, and the set of them that is enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.conditions import Condition
from quantdiff.errors import BadModel
from quantdiff.ladder.advice.bench import Bench, noise
from quantdiff.ladder.advice.choices import Choice, choices_of
from quantdiff.ladder.advice.equalized import equalizations
from quantdiff.ladder.advice.observed import met_of, promising, shifts_of
from quantdiff.ladder.advice.search import Tried, holds, smallest
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
