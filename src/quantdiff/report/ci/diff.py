"""What ``diff`` checked: a case per comparison and condition, and one per runtime that failed."""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.compare.comparison import CLOSE
from quantdiff.compare.outcome import Judgement, Outcome
from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.ci.markdown import figures_table
from quantdiff.report.text.outcome import losses_text
from quantdiff.report.text.parity import first_layer


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
