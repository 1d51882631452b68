"""What lint found, by severity and code, with what to do."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from quantdiff.linting.lint import LintReport
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Section
from quantdiff.report.text.lint import summary


def findings_section(report: LintReport) -> Section:
    """Every finding; those of one code together."""
    groups = [list(found) for _, found in groupby(report.findings, attrgetter("severity", "code"))]
    return Section("findings", "Known trouble", render("findings.html", groups=groups, summary=summary(report)))
