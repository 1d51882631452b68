"""What ``identify`` writes: the profile of a device, and inputs that tell rules apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from quantdiff.identifying.identification import Group, Identification
from quantdiff.identifying.probe import Probe
from quantdiff.report.folder import save_batch, written
from quantdiff.report.text.terminal import printable
from quantdiff.run.profiled import SCHEMA


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
