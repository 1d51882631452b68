"""Cases → JUnit XML, as Jenkins' ``junit-10.xsd`` and GitLab take it: no times, which nobody measured."""

from __future__ import annotations

from xml.etree import ElementTree

from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.text.terminal import printable

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
