"""The top of the page: the verdict in a sentence and the three numbers that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.ladder.explanation import Explanation
from quantdiff.report.text.account import sentence
from quantdiff.report.text.outcome import losses_text


@dataclass(frozen=True, slots=True)
class Number:
    """One number, what it counts, and a word to go with it; ``state`` is ``good``, ``bad`` or empty."""

    text: str
    name: str
    note: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """What stands on top of a page; ``about`` are a few words on the experiment, ``told`` what to know besides."""

    title: str
    sentence: str
    numbers: tuple[Number, ...]
    about: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def comparison_lead(comparison: Comparison, explanations: Sequence[Explanation] = ()) -> Lead:
    """The lead of two engines; where one of the explanations is theirs, with the reason."""
    pair = comparison.reference, comparison.candidate
    reason = next((each for each in explanations if (each.reference, each.candidate) == pair), None)
    sentence = " ".join(part for part in (verdict(comparison), "" if reason is None else because(reason)) if part)
    title, told = f"{comparison.reference} → {comparison.candidate}", tuple(losses_text(comparison))
    return Lead(title, sentence, tuple(numbers(comparison.figures)), told=told)


def explanation_lead(explanation: Explanation) -> Lead:
    """The lead where there is nothing but an explanation."""
    many = Number(f"{explanation.differing:,}", "outputs differ", f"of {explanation.count:,}")
    left = Number(f"{explanation.unexplained:,}", "unexplained", state="bad" if explanation.unexplained else "good")
    title = f"{explanation.reference} → {explanation.candidate}"
    return Lead(title, because(explanation) or "No output differs: nothing to explain.", (many, left))


def verdict(comparison: Comparison) -> str:
    """Whether the outputs are the same, in integers where there are any, else within the tolerance."""
    figures = comparison.figures
    if figures.differing is None:
        within = f"within the tolerance of {comparison.tolerance:g}"
        if figures.passed:
            return f"Same: all {figures.count:,} outputs are {within}."
        return f"Different: {figures.not_close:.3%} of {figures.count:,} outputs are not {within}."
    if not figures.differing:
        return f"Same: all {figures.count:,} outputs are the same integers."
    steps = "1 step" if figures.max_steps == 1 else f"up to {figures.max_steps:,} steps"
    return f"Different: {figures.differing:,} of {figures.count:,} outputs are not the same integer, by {steps}."


def because(explanation: Explanation) -> str:
    """What the error is made of; empty where nothing differs."""
    return sentence(explanation).partition(". ")[2] or sentence(explanation) if explanation.differing else ""


def numbers(figures: Figures) -> Iterator[Number]:
    """Outputs that differ, the largest difference, the decisions that stay (or, without any, the SQNR)."""
    if figures.differing is None:
        state = "good" if figures.passed else "bad"
        yield Number(f"{figures.not_close:.3%}", "outputs not close", f"of {figures.count:,}", state)
        yield Number(f"{figures.max_abs_error:.4g}", "largest error", "in real units")
    else:
        state = "bad" if figures.differing else "good"
        yield Number(f"{figures.differing:,}", "outputs differ as integers", f"of {figures.count:,}", state)
        units = f"largest error {figures.max_abs_error:.4g} in real units"
        yield Number(f"{figures.max_steps:,}", "step at most" if figures.max_steps == 1 else "steps at most", units)
    if figures.top1_agreement is None:
        yield Number(f"{figures.sqnr_db:.1f} dB", "signal to noise")
    else:
        state = "good" if figures.top1_agreement == 1 else "bad"
        yield Number(f"{figures.top1_agreement:.3%}", "same top-1 decision", "reference and candidate", state)
