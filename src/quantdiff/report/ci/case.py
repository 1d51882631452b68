"""Case: one thing that ``diff``, ``lint`` or ``verify`` checked, and how it ended; what all forms for CI render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from quantdiff.compare.conditions import CLOSE
from quantdiff.compare.outcome import Judgement, Outcome
from quantdiff.compare.verdict import Verdict
from quantdiff.linting.lint import LintReport, Severity
from quantdiff.report.ci.markdown import figures_table
from quantdiff.report.text.files import summary
from quantdiff.report.text.outcome import losses_text
from quantdiff.report.text.parity import first_layer
from quantdiff.report.text.verification import verdict_text


class Status(Enum):
    """How a case ended; in the words of a summary."""

    TROUBLE = "trouble"
    """It could not be checked."""
    FAILED = "failed"
    WARNING = "warning"
    """It fails the command, and is a finding of the second rank."""
    NOTED = "info"
    """Worth knowing; it does not fail the command."""
    PASSED = "passed"

    @property
    def is_bad(self) -> bool:
        """Whether the command does not end with 0."""
        return self not in (Status.NOTED, Status.PASSED)


@dataclass(frozen=True, slots=True)
class Case:
    """``name`` was checked of ``group``: a pair of engines, a runtime, a model; ``message`` is what came out.

    ``place`` is where in the group, for a name that comes several times; ``about`` explains all cases of the name.
    """

    group: str
    name: str
    status: Status
    message: str
    place: str = ""
    about: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """All that a command checked. ``table`` is Markdown with its figures, ``remarks`` are lines of text."""

    command: str
    subject: str
    cases: tuple[Case, ...]
    table: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``2 of 5 checks failed``."""
        bad = sum(case.status.is_bad for case in self.cases)
        return f"{bad} of {len(self.cases)} check{'s' * (len(self.cases) != 1)} failed"


def trouble(command: str, message: str) -> Checked:
    """A command that could do nothing at all, and why."""
    return Checked(command, "", (Case(command, "trouble", Status.TROUBLE, message),))


def diff_checked(outcome: Outcome, judgements: Sequence[Judgement]) -> Checked:
    """Every condition on every comparison; layers, where they were asked for, as remarks."""
    named = outcome.artifacts
    cases = [_case(judgement, named["candidate"]) for judgement in judgements]
    cases += [Case(f.runtime, "runtime", Status.TROUBLE, f.error, file=named["candidate"]) for f in outcome.failures]
    subject = f"{named['reference']} vs {named['candidate']} on {named['data']}"
    remarks = [line for comparison in outcome.comparisons for line in losses_text(comparison)]
    remarks += [f"{each.candidate}: {first_layer(each)}" for each in outcome.layers]
    return Checked("diff", subject, tuple(cases), figures_table(outcome), (*outcome.warnings, *remarks, *outcome.notes))


def _case(judgement: Judgement, file: str) -> Case:
    comparison, condition = judgement.comparison, judgement.condition
    where = f" at {judgement.layer}" if judgement.layer else ""
    name = "outputs are close" if condition is CLOSE else f"fail-on {condition}{where}"
    status = Status.FAILED if judgement.different else Status.PASSED
    return Case(f"{comparison.reference} vs {comparison.candidate}", name, status, judgement.says, file=file)


SEVERITIES = {Severity.ERROR: Status.FAILED, Severity.WARNING: Status.WARNING, Severity.INFO: Status.NOTED}


def lint_checked(reports: Sequence[LintReport]) -> Checked:
    """Every finding in every model, the worst first."""
    cases = tuple(case for report in reports for case in _finding_cases(report))
    subject = ", ".join(str(report.model.path) for report in reports)
    return Checked("lint", subject, cases, remarks=tuple(summary(report) for report in reports))


def _finding_cases(report: LintReport) -> Iterator[Case]:
    path = str(report.model.path)
    for found in report.findings:
        about = f"{found.message}\n{found.advice}"
        yield Case(path, found.code, SEVERITIES[found.severity], found.evidence, found.place.text, about, path)
    if not report.findings:
        yield Case(path, "all checks", Status.PASSED, "nothing found", file=path)


VERDICTS = {
    "exact": Status.PASSED,
    "within": Status.PASSED,
    "differs": Status.FAILED,
    "unsupported": Status.FAILED,
    "crashed": Status.TROUBLE,
    "unavailable": Status.TROUBLE,
}


def verify_checked(verdicts: Mapping[str, Verdict], made_by: Mapping[str, Any]) -> Checked:
    """The verdict on each runtime, then its operators; those that are not simulated count as failed."""
    cases = [
        case for runtime, verdict in verdicts.items() for case in _verdict_cases(runtime, verdict, made_by["model"])
    ]
    return Checked("verify", f"{made_by['model']} on {made_by['samples']} samples of {made_by['data']}", tuple(cases))


def _verdict_cases(runtime: str, verdict: Verdict, file: str) -> Iterator[Case]:
    yield Case(runtime, "simulated bit for bit", VERDICTS[verdict.status], verdict_text(verdict), file=file)
    for each in verdict.operators:
        status = Status.FAILED if each.mismatches else Status.PASSED
        what = "differ" if each.width is None else "lie outside their intervals"
        text = f"{each.mismatches:,} of {each.count:,} elements {what}"
        yield Case(runtime, f"#{each.index} {each.op}", status, text, file=file)
    for missing in verdict.unsupported:
        yield Case(runtime, f"#{missing.index} {missing.op}", Status.FAILED, f"not simulated: {missing.why}", file=file)
