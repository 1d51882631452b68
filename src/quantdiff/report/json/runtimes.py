"""Runtimes for machines: which there are, what ``identify`` found of a device, the profile that simulates it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quantdiff.identifying.fits import Example
from quantdiff.identifying.identification import Group, Identification, Refuted
from quantdiff.identifying.probe import Probe
from quantdiff.references.survey import Engine
from quantdiff.report.folder import save_batch, written
from quantdiff.report.text.terminal import printable
from quantdiff.run.profiled import SCHEMA


def runtimes_document(engines: Sequence[Engine]) -> dict[str, Any]:
    """The keys that scripts rely on; nothing is left out."""
    return {"schema": "quantdiff/1", "engines": [_engine_json(engine) for engine in engines]}


def _engine_json(engine: Engine) -> dict[str, Any]:
    return {
        "name": engine.name,
        "kind": engine.kind,
        "package": engine.package,
        "version": engine.version,
        "machine": engine.machine,
        "reached": engine.reached,
        "confinement": dict(engine.confinement),
        "install": engine.install or None,
    }


def identification_document(found: Identification, probe: Probe | None) -> dict[str, Any]:
    """The document that ``identify --json`` prints."""
    return {
        "schema": "quantdiff/1",
        **found.made_by,
        "runtime": found.runtime,
        "faithful": found.faithful,
        "kinds": [_group(group) for group in found.groups],
        "missing": [{"index": m.index, "op": m.op, "why": m.why} for m in found.missing],
        **({} if probe is None else {"probe": _probe(probe)}),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "operators": list(group.operators),
        "usual": group.usual,
        "status": group.status,
        "count": group.count,
        "unjudged": group.unjudged,
        "rules": [list(each) for each in group.rules],
        "refuted": [_refuted(each) for each in group.refuted],
    }


def _refuted(each: Refuted) -> dict[str, Any]:
    fit = each.fit
    example = None if fit.example is None else {"operator": each.operator, **_example(fit.example)}
    return {"rule": fit.rule, "mismatches": fit.mismatches, "example": example}


def _example(example: Example) -> dict[str, Any]:
    return {
        "element": list(example.element),
        "sum": example.total,
        "device": example.device,
        "rule": example.rule,
    }


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "samples": len(probe),
        "known": probe.known,
        "searched": probe.searched,
        "told": [{"kind": kind, "rules": [a, b], "elements": n} for (kind, a, b), n in probe.told.items()],
        "left": [{"kind": kind, "rules": [a, b]} for kind, a, b in probe.left],
    }


def save_profile(found: Identification, path: Path) -> None:
    """Write the profile; it is there as a whole or not at all.

    Raises:
        CannotWrite: the system refuses.
    """
    with written(path) as file:
        file.write_text(profile_text(found), encoding="utf-8", newline="\n")


def profile_text(found: Identification) -> str:
    """The rules as TOML; comments say what was not told apart."""
    lines = [
        f"# the rules of {printable(found.runtime)} on {printable(str(found.made_by.get('model', '')))}",
        f"schema = {_quoted(SCHEMA)}",
        "",
        "[rules]",
        *(f"{_quoted(group.kind)} = {_quoted(group.rule)}{_comment(group)}" for group in found.groups if group.usual),
    ]
    for group in found.groups:
        lines += () if group.usual else _exceptions(group)
    return "\n".join(lines) + "\n"


def save_probe(probe: Probe, path: Path) -> None:
    """Write the inputs as ``--data`` takes them; nothing where none tells rules apart.

    Raises:
        CannotWrite: the system refuses.
    """
    if len(probe):
        with written(path) as file, file.open("wb") as opened:
            save_batch(opened, probe.batch)


def _exceptions(group: Group) -> Iterator[str]:
    for index, tensor in group.places:
        yield ""
        yield "[[exceptions]]"
        yield f"operator = {index}"
        yield f"tensor = {_quoted(tensor)}"
        yield f"rule = {_quoted(group.rule)}{_comment(group)}"


def _comment(group: Group) -> str:
    if group.status == "undecided":
        return "  # not told apart from: " + " | ".join(each[0] for each in group.rules[1:])
    if group.status == "unknown" and group.nearest:
        nearest = group.nearest.fit
        return f"  # none fits; {nearest.rule} is contradicted by {nearest.mismatches} of {group.count}"
    return ""


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
