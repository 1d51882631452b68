"""Parity → what a failing test says, and the two files of a report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.outcome import Judgement
from quantdiff.ladder.explanation import Explanation, Parity
from quantdiff.report.ci.markdown import escaped, fenced, figures_table, table
from quantdiff.report.json.explanation import explanation_document
from quantdiff.report.json.outcome import outcome_document
from quantdiff.report.text.explanation import sentence
from quantdiff.report.text.terminal import printable, short

ALLOWED = {">": "at most", "<": "at least"}


def parity_text(parity: Parity, more: str) -> str:
    """For every candidate that breaks a limit: which and by how much, the first layer that differs, the mechanism."""
    return "\n".join(printable(line) for line in (*_lines(parity), *([more] if more else [])))


def _lines(parity: Parity) -> Iterator[str]:
    named, broken = parity.outcome.artifacts, parity.broken
    yield f"no parity: {named['reference']} and {named['candidate']} on {named['data']}"
    for candidate in dict.fromkeys(judgement.comparison.candidate for judgement in broken):
        yield f"{candidate}:"
        yield from (f"  {broken_text(each)}" for each in broken if each.comparison.candidate == candidate)
        yield from (f"  {first_layer(each)}" for each in parity.outcome.layers if each.candidate == candidate)
        yield from (f"  {leading(each)}" for each in parity.explanations if each.candidate == candidate)
    yield from parity.left_out


def broken_text(judgement: Judgement) -> str:
    """``max_steps is 3, at most 1 allowed: 2 beyond``."""
    condition = judgement.condition
    if condition.sign not in ALLOWED:
        return f"{judgement.says}: {condition}"
    return f"{judgement.says}, {ALLOWED[condition.sign]} {condition.limit:g} allowed: {judgement.beyond:g} beyond"


def first_layer(report: LayerReport) -> str:
    """The first layer that differs, how many of its values and by how much."""
    if report.unrelated:
        return f"these are not the same model: {report.unrelated}"
    if report.first_differing is None:
        return "no layer differs"
    layer = report.layers[report.first_differing]
    figures = layer.figures
    how = f"max error {figures.max_abs_error:.6g}"
    if figures.differing is not None:
        how = f"{figures.differing:,} of {figures.count:,} values differ, at most by {figures.max_steps:,} step"
        how += "s" * (figures.max_steps != 1)
    return f"first layer that differs: {short(layer.reference)} ({layer.op}): {how}"


def leading(explanation: Explanation) -> str:
    """The mechanism with the largest share, and the account in a sentence."""
    name = explanation.leading or "none"
    return f"leading mechanism: {name}: {sentence(explanation)}"


def more_text(files: tuple[str, str, str], runtimes: Sequence[str], *, explained: bool) -> str:
    """The command that shows more: the whole account where there is one, else the layers."""
    command = ["quantdiff", "explain", *files[:2]] if explained else ["quantdiff", "diff", *files[:2], "--layers"]
    return "more: " + shlex.join([*command, "--data", files[2], *(f"--runtime={name}" for name in runtimes)])


def parity_markdown(parity: Parity, title: str, more: str) -> str:
    """The figures of every comparison and what each limit says; where one is broken, what the failing test said."""
    parts = [f"### {escaped(title)}: {'no parity' if parity.broken else 'parity'}\n", figures_table(parity.outcome)]
    rows = [
        [escaped(j.comparison.candidate), escaped(str(j.condition)), escaped(j.says), "no" if j.different else "yes"]
        for j in parity.judgements
    ]
    parts.append(table(["candidate", "would be different", "found", "kept"], rows))
    if parity.broken:
        parts.append(fenced(parity_text(parity, more)))
    return "\n".join(parts)


def parity_document(parity: Parity) -> dict[str, Any]:
    """The document of ``diff``, what each limit says, and the explanations."""
    return {
        **outcome_document(parity.outcome),
        "command": "assert_parity",
        "passed": not parity.broken,
        "limits": [_limit(judgement) for judgement in parity.judgements],
        "explanations": [explanation_document(each) for each in parity.explanations],
        "left_out": list(parity.left_out),
    }


def _limit(judgement: Judgement) -> dict[str, Any]:
    condition = judgement.condition
    return {
        "candidate": judgement.comparison.candidate,
        "metric": condition.metric,
        "allowed": ALLOWED[condition.sign],
        "limit": condition.limit,
        "value": judgement.value,
        "passed": not judgement.different,
    }
