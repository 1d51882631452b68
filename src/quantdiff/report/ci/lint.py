"""What ``lint`` checked: a case per finding, and one for a model without any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantdiff.linting.lint import LintReport
from quantdiff.linting.registry import Severity
from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.text.lint import summary

STATUS = {Severity.ERROR: Status.FAILED, Severity.WARNING: Status.WARNING, Severity.INFO: Status.NOTED}


def lint_checked(reports: Sequence[LintReport]) -> Checked:
    """Every finding in every model, the worst first."""
    cases = tuple(case for report in reports for case in _cases(report))
    subject = ", ".join(str(report.model.path) for report in reports)
    return Checked("lint", subject, cases, remarks=tuple(summary(report) for report in reports))


def _cases(report: LintReport) -> Iterator[Case]:
    path = str(report.model.path)
    for found in report.findings:
        about = f"{found.message}\n{found.advice}"
        yield Case(path, found.code, STATUS[found.severity], found.evidence, found.place.text, about, path)
    if not report.findings:
        yield Case(path, "all checks", Status.PASSED, "nothing found", file=path)
