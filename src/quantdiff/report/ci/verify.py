"""What ``verify`` checked: every operator on every runtime, and each runtime as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quantdiff.compare.verdict import Verdict
from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.text.verification import verdict_text

STATUS = {
    "exact": Status.PASSED,
    "within": Status.PASSED,
    "differs": Status.FAILED,
    "unsupported": Status.FAILED,
    "crashed": Status.TROUBLE,
    "unavailable": Status.TROUBLE,
}


def verify_checked(verdicts: Mapping[str, Verdict], made_by: Mapping[str, Any]) -> Checked:
    """The verdict on each runtime, then its operators; those that are not simulated count as failed."""
    cases = [case for runtime, verdict in verdicts.items() for case in _cases(runtime, verdict, made_by["model"])]
    return Checked("verify", f"{made_by['model']} on {made_by['samples']} samples of {made_by['data']}", tuple(cases))


def _cases(runtime: str, verdict: Verdict, file: str) -> Iterator[Case]:
    yield Case(runtime, "simulated bit for bit", STATUS[verdict.status], verdict_text(verdict), file=file)
    for each in verdict.operators:
        status = Status.FAILED if each.mismatches else Status.PASSED
        what = "differ" if each.width is None else "lie outside their intervals"
        text = f"{each.mismatches:,} of {each.count:,} elements {what}"
        yield Case(runtime, f"#{each.index} {each.op}", status, text, file=file)
    for missing in verdict.unsupported:
        yield Case(runtime, f"#{missing.index} {missing.op}", Status.FAILED, f"not simulated: {missing.why}", file=file)
