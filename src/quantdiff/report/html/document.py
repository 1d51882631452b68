"""Values → the page: every section that there is a value for, in the order in which people ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from pathlib import Path

from bokeh.resources import Resources
from markupsafe import Markup

from quantdiff.compare.outcome import Outcome
from quantdiff.ladder.explanation import Explanation
from quantdiff.linting.lint import LintReport
from quantdiff.parameters.quantizers import Parameters
from quantdiff.report.folder import written
from quantdiff.report.html.comparisons import comparisons_section
from quantdiff.report.html.confusion import confusion_section
from quantdiff.report.html.findings import findings_section
from quantdiff.report.html.histogram import histogram_section
from quantdiff.report.html.layers import layers_section
from quantdiff.report.html.parameters import parameters_section
from quantdiff.report.html.provenance import Provenance, about, provenance_section
from quantdiff.report.html.rendering import asset, render, script_json, source_of
from quantdiff.report.html.samples import samples_section
from quantdiff.report.html.section import Section
from quantdiff.report.html.verdict import Lead, comparison_lead, explanation_lead
from quantdiff.report.html.waterfall import waterfall_section


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
