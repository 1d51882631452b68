"""Run every check on a model, and on the reference that it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from quantdiff.graph import Model
from quantdiff.lazy import Shown
from quantdiff.linting.registry import Check, Finding, Found, Severity, checks
from quantdiff.linting.trained import Trained, WithLayers
from quantdiff.linting.wiring import wirings

ORDER = tuple(Severity)


@dataclass(frozen=True, slots=True)
class LintReport(Shown):
    """What all checks found, the worst first, then by code and place."""

    model: Model
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity.value: found[severity] for severity in ORDER}

    @property
    def is_clean(self) -> bool:
        """True when nothing is worse than information."""
        return all(finding.severity is Severity.INFO for finding in self.findings)


def lint_model(model: Model, reference: WithLayers | None = None) -> LintReport:
    """Every finding on ``model``; with ``reference``, on its quantization-aware ranges too. Needs no data."""
    subjects: list[object] = list(wirings(model))
    if reference is not None:
        subjects.append(Trained(reference.kind, reference.layers(), model, getattr(reference, "stored_samples", 0)))
    findings = [finding for check in checks() for finding in _findings(check, subjects)]
    return LintReport(model, tuple(sorted(findings, key=lambda finding: ORDER.index(finding.severity))))


def _findings(check: Check, subjects: list[object]) -> Iterator[Finding]:
    for subject in subjects:
        if isinstance(subject, check.subject):
            for found in check.find(subject):
                yield _finding(check, found)


def _finding(check: Check, found: Found) -> Finding:
    severity = found.severity or check.severity
    return Finding(check.code, severity, found.place, found.evidence, check.message, check.advice)
