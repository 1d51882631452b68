"""A ``LintReport`` as the values of the JSON document."""

from __future__ import annotations

from typing import Any

from quantdiff.explaining.finding import Finding
from quantdiff.explaining.lint import LintReport


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
