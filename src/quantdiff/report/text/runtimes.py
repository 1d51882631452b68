"""Runtimes, as text: which there are on this machine, and what ``identify`` found of a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from quantdiff.identifying.fits import Fit
from quantdiff.identifying.identification import Group, Identification, Refuted
from quantdiff.identifying.probe import Probe
from quantdiff.references.survey import SIMULATED, WORKER, Engine
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, printable
from quantdiff.sim.device import RUNTIMES
from quantdiff.sim.rounding.scaling import LETTERS


def print_engines(engines: Sequence[Engine], console: Terminal) -> None:
    """A row for each, for what is missing the line that installs it, and what holds of the confinement."""
    headings = "engine", "kind", "version", "machine", "reached"
    rows = (Row((e.name, e.kind, f"{e.package} {e.version or ''}", e.machine), _reached(e)) for e in engines)
    console.print(Table(tuple(Column(heading, "word") for heading in headings[:-1]), tuple(rows), headings[-1]))
    for engine in engines:
        if line := engine.install or (engine.reached if engine.kind == WORKER else ""):
            console.print(f"{engine.name}: {line}", soft_wrap=True)
    for holds, words in ((True, "a child process has"), (False, "this system does not give it")):
        names = {n: None for engine in engines for n, held in engine.confinement.items() if held is holds}
        if names:
            console.print(f"{words}: {', '.join(name.replace('_', ' ') for name in names)}", soft_wrap=True)


def _reached(engine: Engine) -> str:
    if engine.kind == WORKER:
        return "by a command"
    there = engine.version or engine.reached == SIMULATED
    return engine.reached.partition(",")[0] if there else "not installed"


STYLE = {"identified": "green", "undecided": "yellow", "unknown": "red"}
NAMED, EXAMPLES, INDICES = 4, 4, 6
"""Rules of a class that are named, counter-examples of a group, and indices of operators."""


def print_identification(
    found: Identification,
    console: Terminal,
    probe: Probe | None = None,
    profile: Path | None = None,
    inputs: Path | None = None,
) -> None:
    """The rule of each kind, then an element against each of the nearest other rules."""
    console.print(_sentence(found), soft_wrap=True)
    if not found.faithful:
        console.print("the outputs changed when the tensors between were read, so nothing here is sure", style="red")
    console.print(f"{found.made_by['samples']:,} samples of {found.made_by['data']}", style="dim", soft_wrap=True)
    console.print()
    console.print(_table(found.groups))
    for missing in found.missing:
        what = f" #{missing.index} {printable(missing.op)}: {printable(missing.why)}"
        console.print(Text.assemble(("  nothing known:", "yellow"), what), soft_wrap=True)
    contradictions = [line for group in found.groups for line in _contradictions(group)]
    if contradictions:
        console.print(Text("\nelements that contradict other rules", "bold"))
    for line in contradictions:
        console.print(line, soft_wrap=True)
    for line in (*_advice(found, probe), *_probed(probe, inputs)):
        console.print(line, soft_wrap=True)
    if profile is not None:
        console.print(f"\nprofile written: --runtime profile:{profile} predicts this device", soft_wrap=True)


def _sentence(found: Identification) -> Text:
    counts = {status: sum(group.status == status for group in found.groups) for status in STYLE}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    kinds = len({group.kind for group in found.groups})
    return Text.assemble((printable(found.runtime), "bold"), f": {kinds} kinds of operators; {said or 'none compared'}")


def _table(groups: Sequence[Group]) -> Table:
    rows = [
        Row(
            (
                group.kind if group.usual else f"  {group.kind}, an exception",
                _indices(group.operators),
                f"{group.count:,}",
                _margin(group),
            ),
            _rule(group),
            STYLE[group.status],
        )
        for group in groups
    ]
    words = Column("kind", "name"), Column("operators", "word"), Column("elements")
    return Table((*words, Column("told from the next by", "word")), tuple(rows), "rule")


def _indices(operators: Sequence[int]) -> str:
    shown = " ".join(map(str, operators[:INDICES]))
    return shown if len(operators) <= INDICES else f"{shown} … {len(operators)} in all"


def _rule(group: Group) -> str:
    if not group.rules:
        nearest = group.nearest
        return "no rule fits" + (f"; nearest: {nearest.fit.rule}" if nearest else "")
    return " | ".join(map(_class, group.rules[:NAMED])) + (" | …" if len(group.rules) > NAMED else "")


def _class(rules: Sequence[str]) -> str:
    """Rules that give the same: runtimes and letters first; one of ARM64 only where its twin is not among them."""
    known = [rule for rule in rules if _has_a_name(rule)] or list(rules[:1])
    shown = [rule for rule in known if rule.partition("@")[0] == rule or rule.partition("@")[0] not in known][:NAMED]
    more = len(rules) - len([rule for rule in rules if rule.partition("@")[0] in shown or rule in shown])
    return " = ".join(shown) + (f" (and {more} more)" if more else "")


def _has_a_name(rule: str) -> bool:
    return rule in RUNTIMES or rule in LETTERS


def _margin(group: Group) -> str:
    nearest = group.nearest
    if nearest is None:
        return "nothing: all give the same"
    if not group.rules:
        return f"{nearest.fit.mismatches:,} left"
    return f"{nearest.fit.mismatches:,} ({nearest.fit.rule})"


def _contradictions(group: Group) -> Iterator[str]:
    """An element against each of some rules, those together that it contradicts alike: the nearest, and named ones."""
    alike: dict[Fit, list[Refuted]] = {}
    for each in group.refuted:
        if _has_a_name(each.fit.rule) or each is group.refuted[0]:
            example = each.fit.example and replace(each.fit.example, total=None)
            alike.setdefault(replace(each.fit, rule="", example=example), []).append(each)
    for several in list(alike.values())[:EXAMPLES]:
        names = _class([each.fit.rule for each in several])
        told = next((each for each in several if each.fit.example and each.fit.example.total is not None), several[0])
        yield f"  {printable(group.kind)}: {names}: {_contradiction(told)}"


def _contradiction(each: Refuted) -> str:
    fit, example = each.fit, each.fit.example
    if example is None:
        return f"{fit.mismatches:,}"
    total = "" if example.total is None else f"of the sum {example.total:,} "
    where = f"operator {each.operator} element {','.join(map(str, example.element))}"
    return f"{fit.mismatches:,}; {where}: {total}it makes {example.rule}, the device {example.device}"


def _advice(found: Identification, probe: Probe | None) -> Iterator[str]:
    if probe is None and any(group.status == "undecided" for group in found.groups):
        yield "\nnot decided: nothing here tells apart what stands between |; --probe OUT.npz looks for inputs that do"


def _probed(probe: Probe | None, path: Path | None) -> Iterator[str]:
    if probe is None:
        return
    if not (probe.told or probe.left):
        yield "\nnothing is undecided, so no more inputs are needed"
        return
    new = len(probe) - probe.known
    yield f"\n{probe.searched:,} random samples were simulated, {new} of them tell rules apart that fit"
    pairs = (*probe.told, *probe.left)
    for kind in dict.fromkeys(kind for kind, *_ in pairs):
        told, count = (sum(each == kind for each, *_ in some) for some in (probe.told, pairs))
        alike = dict.fromkeys(rule for each, *pair in probe.left if each == kind for rule in pair)
        left = f"; nothing found between some of {' | '.join(alike)}" if alike else ""
        yield f"  {printable(kind)}: {told} of {count} pairs told apart{left}"
    if new:
        have = f", with {probe.known} that contradict other rules" if probe.known else ""
        yield f"they are in {path}{have}: run the device on it, then identify again with --data {path}"
