"""The rule of each kind of operator from what a device gave: what fits every element, and what told others apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantdiff.graph import Graph
from quantdiff.identifying.equal import classes
from quantdiff.identifying.fits import Fit, OperatorFits, Values, fits_of, unrecorded
from quantdiff.lazy import Shown
from quantdiff.quant import Array
from quantdiff.sim.device import RUNTIMES, Device, place_of
from quantdiff.sim.graph.simulator import Missing
from quantdiff.sim.node import node_of
from quantdiff.sim.rounding.scaling import LETTERS
from quantdiff.sim.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Refuted:
    """A rule that does not fit: how many elements contradict it, and one of them, in the operator of that index."""

    fit: Fit
    operator: int


@dataclass(frozen=True, slots=True)
class Group:
    """Operators of one kind that obey the same rules.

    Attributes:
        kind: op and types.
        op: the op alone.
        operators: their indices; ``places`` has the name of what each gives, too.
        count: elements that were compared.
        rules: the rules that fit every one of them, in classes: those of one class are proven to give the same here.
        refuted: the rules that do not, those with the fewest contradictions first.
        usual: it is the rule of the kind; else these operators stand out from the others.
        unjudged: elements too near a tie to tell what a real function gives there.
    """

    kind: str
    op: str
    operators: tuple[int, ...]
    places: tuple[tuple[int, str], ...]
    count: int
    rules: tuple[tuple[str, ...], ...]
    refuted: tuple[Refuted, ...] = field(repr=False)
    usual: bool
    unjudged: int = 0

    @property
    def status(self) -> str:
        """``identified``: what fits is one rule, or rules proven equal here; ``undecided``: several; ``unknown``."""
        return ("unknown", "identified")[len(self.rules)] if len(self.rules) <= 1 else "undecided"

    @property
    def rule(self) -> str:
        """The rule that a profile names; empty where none fits."""
        return self.rules[0][0] if self.rules else ""

    @property
    def nearest(self) -> Refuted | None:
        """The rule that is contradicted least."""
        return self.refuted[0] if self.refuted else None


@dataclass(frozen=True, slots=True)
class Identification(Shown):
    """What was found on one runtime: groups of operators by kind, and the operators that nothing can be said of.

    ``inputs`` are what was fed, where that is known. Shapes: (samples, *shape of the input).
    """

    runtime: str
    groups: tuple[Group, ...]
    missing: tuple[Missing, ...]
    faithful: bool = True
    made_by: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Array, ...] = field(default=(), repr=False)

    @property
    def device(self) -> Device:
        """The device by the rules that were found."""
        return device_of(self.groups, f"the profile of {self.runtime}")


def device_of(groups: Sequence[Group], name: str, rule: Callable[[Group], str] = lambda group: group.rule) -> Device:
    """A device that obeys one rule of each group."""
    usual = tuple((group.kind, rule(group)) for group in groups if group.usual)
    others = [(place, rule(group)) for group in groups if not group.usual for place in group.places]
    return Device(name, usual, tuple(sorted(others)))


def identify_tensors(graph: Graph, held: Values) -> tuple[tuple[Group, ...], tuple[Missing, ...]]:
    """The rules of each kind of operator, where ``held`` are the device's tensors by index, samples along axis 0."""
    found, missing = list[OperatorFits](), list[Missing]()
    held = dict(held)
    for operator in (each for each in graph.operators if each.outputs):
        held |= unrecorded(graph, operator, held)
        fits = fits_of(graph, operator, held, tuple(Runtime))
        (missing if isinstance(fits, Missing) else found).append(fits)  # type: ignore[arg-type]
    kinds: dict[str, list[OperatorFits]] = {}
    for fits in found:
        kinds.setdefault(fits.kind, []).append(fits)
    order = _preference(found)
    groups = [group for alike in kinds.values() for group in _groups(graph, alike, order)]
    return tuple(groups), tuple(missing)


def _preference(found: Sequence[OperatorFits]) -> dict[str, int]:
    """A rank for each rule: the runtimes that fit most operators first, then those with letters, then the others."""
    fitting = {name: sum(_fits(each, name) for each in found) for name in RUNTIMES}
    runtimes = sorted(RUNTIMES, key=lambda name: -fitting[name])
    others = dict.fromkeys(rule for each in found for rule in each.fits if rule not in RUNTIMES)
    ways = sorted(others, key=lambda rule: (rule not in LETTERS, "scale" in rule))
    return {rule: rank for rank, rule in enumerate((*runtimes, *ways))}


def _fits(operator: OperatorFits, rule: str) -> bool:
    return rule in operator.fits and not operator.fits[rule].mismatches


def _groups(graph: Graph, alike: Sequence[OperatorFits], order: Mapping[str, int]) -> list[Group]:
    """Operators of one kind by what fits them; the largest group comes first."""
    left, groups = list(alike), list[Group]()
    while left:
        names = {rule for each in left for rule in each.fits}
        by_rule = {rule: [each for each in left if _fits(each, rule)] for rule in names}
        best = min(names, key=lambda rule: (-len(by_rule[rule]), order[rule]))
        chosen = by_rule[best] or left[:1]
        groups.append(_group(graph, chosen, order, usual=not groups))
        left = [each for each in left if each not in chosen]
    return groups


def _group(graph: Graph, alike: Sequence[OperatorFits], order: Mapping[str, int], *, usual: bool) -> Group:
    names = sorted({rule for each in alike for rule in each.fits}, key=order.__getitem__)
    fitting = [rule for rule in names if all(_fits(each, rule) for each in alike)]
    refuted = [
        _refuted(rule, alike) for rule in names if any(rule in each.fits and not _fits(each, rule) for each in alike)
    ]
    refuted.sort(key=lambda each: each.fit.mismatches)
    unjudged = sum(each.fits[rule].unjudged for each in alike for rule in fitting[:1])
    indices, count = tuple(each.index for each in alike), sum(each.count for each in alike)
    rules = _classes(graph, indices, fitting)
    by_index = {operator.index: operator for operator in graph.operators}
    places = tuple(place_of(node_of(graph, by_index[index])) for index in indices)
    return Group(alike[0].kind, alike[0].op, indices, places, count, rules, tuple(refuted), usual, unjudged)


def _refuted(rule: str, alike: Sequence[OperatorFits]) -> Refuted:
    wrong = [each for each in alike if rule in each.fits and each.fits[rule].mismatches]
    total = sum(each.fits[rule].mismatches for each in wrong)
    return Refuted(Fit(rule, total, wrong[0].fits[rule].example), wrong[0].index)


def _classes(graph: Graph, operators: Sequence[int], rules: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Rules together that are proven to give the same on every operator."""
    by_index = {operator.index: operator for operator in graph.operators}
    keys = list(zip(*(classes(graph, by_index[index], rules) for index in operators), strict=True)) if rules else []
    found: dict[tuple[int, ...], list[str]] = {}
    for rule, key in zip(rules, keys, strict=True):
        found.setdefault(key, []).append(rule)
    return tuple(tuple(each) for each in found.values())
