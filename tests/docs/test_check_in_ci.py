"""The workflow files that docs/how-to/check-in-ci.md shows hold commands that exist, and the hook that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from quantdiff.cli import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/how-to/check-in-ci.md").read_text()
COMMANDS = re.findall(r"^ +- (?:run: )?quantdiff (.*)$", TEXT, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_a_workflow_can_be_parsed(line: str) -> None:
    name, *arguments = shlex.split(line.partition(" > ")[0])
    main.commands[name].make_context(name, arguments)


def test_the_page_has_a_workflow_for_each_server() -> None:
    assert len([line for line in COMMANDS if "--format github" in line]) == 3
    assert len([line for line in COMMANDS if "--format junit" in line]) == 3


def test_the_hook_of_the_page_is_defined() -> None:
    (shown,) = re.findall(r"- id: (\S+)", TEXT)
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text()
    assert f"- id: {shown}\n" in hooks
    (entry,) = re.findall(r"entry: quantdiff (\S+)", hooks)
    (files,) = re.findall(r"files: (\S+)", hooks)
    assert re.search(files, "models/a.tflite")
    main.commands[entry].make_context(entry, ["a.tflite", "b.tflite", "c.tflite"])  # pre-commit gives them all at once
