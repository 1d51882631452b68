"""A ``LintReport`` as the values of the JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantdiff.linting.lint import LintReport
from quantdiff.linting.registry import Finding


def lint_document(reports: Sequence[LintReport]) -> dict[str, Any]:
    """The document of one model, or those of several under ``models`` with the counts of all."""
    if len(reports) == 1:
        return lint_json(reports[0])
    counts = {severity: sum(report.counts[severity] for report in reports) for severity in reports[0].counts}
    return {"schema": "quantdiff/1", "models": [lint_json(report) for report in reports], "counts": counts}


def lint_json(report: LintReport) -> dict[str, Any]:
    """The keys that scripts rely on; nothing is left out."""
    return {
        "schema": "quantdiff/1",
        "model": str(report.model.path or ""),
        "findings": [_finding_json(finding) for finding in report.findings],
        "counts": report.counts,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "where": finding.place.text,
        "subgraph": finding.place.subgraph,
        "operator": finding.place.operator,
        "evidence": finding.evidence,
        "message": finding.message,
        "advice": finding.advice,
    }
