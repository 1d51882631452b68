"""Cases as CI servers read them: GitHub's workflow commands and a step summary, JUnit XML for others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from quantdiff.files import destination
from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.ci.markdown import escaped, table
from quantdiff.report.folder import CannotWrite
from quantdiff.report.text.terminal import printable

LEVELS = {Status.TROUBLE: "error", Status.FAILED: "error", Status.WARNING: "warning", Status.NOTED: "notice"}
AT_MOST = 10
ROWS = 200
"""In a summary, which may have 1 MiB."""


def workflow_commands(checked: Checked) -> tuple[str, ...]:
    """A command for every name and file, with the groups and places where it is; then the verdict in plain words."""
    lines: list[str] = []
    for level in dict.fromkeys(LEVELS.values()):
        bundles = _bundles(checked, level)
        shown = bundles if len(bundles) <= AT_MOST else bundles[: AT_MOST - 1]
        lines += [_command(level, checked.command, bundle) for bundle in shown]
        if len(shown) < len(bundles):
            lines.append(f"::{level}::{len(bundles) - len(shown)} more are in the summary of this step")
    return (*lines, f"quantdiff {checked.command}: {checked.verdict}")


def _bundles(checked: Checked, level: str) -> list[list[Case]]:
    found: dict[tuple[str, str], list[Case]] = {}
    for case in checked.cases:
        if LEVELS.get(case.status) == level:
            found.setdefault((case.file, case.name), []).append(case)
    return list(found.values())


def _command(level: str, command: str, bundle: list[Case]) -> str:
    first = bundle[0]
    named = {"file": in_workspace(first.file), "title": f"quantdiff {command}: {first.name}"}
    properties = ",".join(f"{key}={_property(printable(value))}" for key, value in named.items() if value)
    heading, *advice = first.about.splitlines() or [""]
    lines = [heading, *(_line(case) for case in bundle), *advice]
    return f"::{level} {properties}::{_data(chr(10).join(printable(line) for line in lines if line))}"


def _line(case: Case) -> str:
    group = "" if case.group in (case.file, case.name) else case.group
    return ": ".join(part for part in (group, case.place, case.message) if part)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def in_workspace(file: str) -> str:
    """The path as the checked-out repository has it, which is how GitHub finds the file."""
    workspace, path = os.environ.get("GITHUB_WORKSPACE"), Path(file).absolute()
    if file and workspace and path.is_relative_to(workspace):
        return path.relative_to(workspace).as_posix()
    return file


def summary(checked: Checked) -> str:
    """Markdown: the verdict, the figures, what is not well and then the rest, as many rows as there is room for."""
    ordered = sorted(checked.cases, key=lambda case: list(Status).index(case.status))
    rows = (
        [case.status.value, *map(escaped, (case.group, f"{case.name} {case.place}".strip(), case.message))]
        for case in ordered[:ROWS]
    )
    return "\n".join(_parts(checked, table(["", "where", "check", "found"], rows), len(ordered) - ROWS))


def add_summary(markdown: str) -> bool:
    """Append to the step summary; False outside GitHub Actions, where there is none.

    Raises:
        CannotWrite: the system refuses.
    """
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return False
    try:
        with destination(Path(file)).open("a", encoding="utf-8") as summaries:
            summaries.write(markdown + "\n")
    except OSError as error:
        raise CannotWrite(f"GITHUB_STEP_SUMMARY={file}: cannot be written ({error.strerror}); unset it") from error
    return True


def _parts(checked: Checked, rows: str, left_out: int) -> Iterator[str]:
    yield f"### quantdiff {checked.command}: {checked.verdict}\n"
    if checked.subject:
        yield f"{escaped(checked.subject)}\n"
    if checked.table:
        yield checked.table
    yield rows
    if left_out > 0:
        yield f"… {left_out} more\n"
    yield from (f"- {escaped(remark)}" for remark in checked.remarks)


TAGS = {Status.TROUBLE: "error", Status.FAILED: "failure", Status.WARNING: "failure"}


def junit_text(checked: Checked) -> str:
    """One document: a suite per group, a test case per case. XML 1.0 has no way to write most control characters."""
    name = printable(f"quantdiff {checked.command} {checked.subject}".strip())
    root = ElementTree.Element("testsuites", {"name": name, **_counts(checked.cases)})
    for group in dict.fromkeys(case.group for case in checked.cases):
        cases = tuple(case for case in checked.cases if case.group == group)
        suite = ElementTree.SubElement(root, "testsuite", {"name": printable(group), **_counts(cases)})
        for case in cases:
            _add(suite, case, checked.command)
    ElementTree.indent(root)
    encoded: bytes = ElementTree.tostring(root, encoding="us-ascii")  # whatever the encoding of standard output
    return encoded.decode()


def _counts(cases: tuple[Case, ...]) -> dict[str, str]:
    tags = [TAGS.get(case.status) for case in cases]
    return {"tests": str(len(cases)), "failures": str(tags.count("failure")), "errors": str(tags.count("error"))}


def _add(suite: ElementTree.Element, case: Case, command: str) -> None:
    classname = f"quantdiff.{command}.{printable(case.group)}"
    name = printable(f"{case.name} {case.place}".strip())
    element = ElementTree.SubElement(suite, "testcase", classname=classname, name=name)
    message = printable(case.message)
    about = "\n".join(printable(line) for line in case.about.splitlines())
    tag = TAGS.get(case.status)
    if tag is None:
        ElementTree.SubElement(element, "system-out").text = "\n".join(filter(None, (message, about)))
    else:
        ElementTree.SubElement(element, tag, type=case.status.value, message=message).text = about or message
