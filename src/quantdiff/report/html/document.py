"""Values → the page: the verdict, a section for every value in the order in which people ask, the provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from pathlib import Path

from bokeh.resources import Resources
from markupsafe import Markup

from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.ladder.explanation import Explanation
from quantdiff.linting.lint import LintReport
from quantdiff.parameters.quantizers import Parameters
from quantdiff.report.folder import written
from quantdiff.report.html.explanation import waterfall_section
from quantdiff.report.html.files import findings_section, parameters_section
from quantdiff.report.html.layers import layers_section
from quantdiff.report.html.outcome import comparisons_section, confusion_section, histogram_section, samples_section
from quantdiff.report.html.rendering import Section, asset, render, script_json, source_of
from quantdiff.report.text.explanation import sentence
from quantdiff.report.text.outcome import losses_text


@dataclass(frozen=True, slots=True)
class Page:
    """One HTML document that holds all it needs."""

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles and those of the notebook leave each other alone."""
        style = "width:100%;height:80vh;border:0"
        return (
            f'<iframe title="quantdiff" sandbox="allow-scripts" style="{style}" srcdoc="{escape(self.html)}"></iframe>'
        )

    def save(self, path: str | Path) -> None:
        """Write the page; it is there as a whole or not at all. A link is followed.

        Raises:
            CannotWrite: ``path`` is a folder or a device, or the system refuses.
        """
        with written(Path(path)) as file:
            file.write_text(self.html, encoding="utf-8", newline="\n")


def page_of(
    outcome: Outcome | None = None,
    explanations: Sequence[Explanation] = (),
    parameters: Parameters | None = None,
    findings: LintReport | None = None,
    provenance: Provenance | None = None,
) -> Page:
    """One page of all that is known; what has no value has no section."""
    sections = [
        *(_of_outcome(outcome) if outcome else ()),
        *([parameters_section(parameters)] if parameters else []),
        *([findings_section(findings)] if findings else []),
        *([provenance_section(provenance)] if provenance else []),
    ]
    if explanations:
        sections.insert(0, waterfall_section(explanations))
    return assemble(_lead(outcome, explanations), [each for each in sections if each is not None], provenance)


def assemble(lead: Lead, sections: Sequence[Section], provenance: Provenance | None = None) -> Page:
    """The document around the sections. Its policy lets no script run but its own, and no request leave."""
    plots = [plot for section in sections for plot in section.plots]
    graphs = [graph for section in sections for graph in section.graphs]
    drawing = [asset("dagre.js"), asset("graph.js")] if graphs else []
    scripts = [*([bokeh_script()] if plots else []), *drawing, asset("page.js")]
    html = render(
        "page.html",
        lead=replace(lead, about=about(provenance)) if provenance else lead,
        sections=sections,
        failures=provenance.failures if provenance else (),
        style=asset("style.css"),
        scripts=scripts,
        script_sources=" ".join(map(source_of, scripts)),
        plots=script_json(plots),
        graphs=script_json(graphs),
    )
    return Page(str(html))


@cache
def bokeh_script() -> Markup:
    """Bokeh itself, without widgets, tables and formulas."""
    (script, *_) = Resources(mode="inline", components=["bokeh"]).js_raw
    return Markup(script)


def _of_outcome(outcome: Outcome) -> Iterator[Section | None]:
    yield layers_section(outcome.layers) if outcome.layers else None
    yield histogram_section(outcome.evidence)
    yield confusion_section(outcome.evidence)
    yield samples_section(outcome.evidence)
    yield comparisons_section(outcome.comparisons, outcome.accuracy) if outcome.comparisons else None


def _lead(outcome: Outcome | None, explanations: Sequence[Explanation]) -> Lead:
    """About the last reference, the quantization-aware one of a run, and the first runtime."""
    if outcome is not None and outcome.comparisons:
        last = outcome.comparisons[-1].reference
        lead = comparison_lead(next(c for c in outcome.comparisons if c.reference == last), explanations)
        return replace(lead, told=(*outcome.warnings, *lead.told))
    if explanations:
        return explanation_lead(explanations[0])
    return Lead("No result", "No runtime gave a result.", ())


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


@dataclass(frozen=True, slots=True)
class Provenance:
    """How it was made; ``command`` is what was typed, empty where it was not a command."""

    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    command: str = ""


def about(provenance: Provenance) -> tuple[str, ...]:
    """The experiment in a few words: model, seed, samples."""
    made_by = provenance.made_by
    samples = made_by.get("samples")
    return (
        *([str(made_by["model"])] if "model" in made_by else []),
        *([f"seed {made_by['seed']}"] if "seed" in made_by else []),
        *([f"{samples:,} samples"] if isinstance(samples, int) else []),
    )


def provenance_section(provenance: Provenance) -> Section:
    """Everything that another person needs to get the same numbers."""
    versions = provenance.made_by.get("versions")
    facts = {name: value for name, value in provenance.made_by.items() if name not in ("versions", "command")}
    html = render(
        "provenance.html",
        provenance=provenance,
        facts=facts,
        versions=dict(versions) if isinstance(versions, Mapping) else {},
    )
    return Section("made", "How this was made", html)
