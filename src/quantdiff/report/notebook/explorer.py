"""``explore``: the layers of a comparison in a notebook, with a picker and plots that follow it."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.outcome import Outcome
from quantdiff.errors import NotComparable
from quantdiff.lazy import require
from quantdiff.report.json.text import json_text

if TYPE_CHECKING:
    from quantdiff.report.notebook.explorer_widget import Explorer

PAGE = """\
<div class="quantdiff-still"></div>
<style>{style}</style>
<script type="module">
{script}
const state = {state}, heard = {{}};
const el = document.querySelector(".quantdiff-still:not([data-drawn])");
el.dataset.drawn = "";
render({{ el, model: {{
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; heard[`change:${{name}}`]?.(); }},
  on: (event, call) => {{ heard[event] = call; }},
  save_changes: () => {{}},
}} }});
</script>
"""
"""The same plots without a kernel: what a page has that was made of a notebook."""


def explore(outcome: Outcome) -> Explorer:
    """A widget for what ``diff(..., layers=True)`` gave: pick a layer, and every plot shows it.

    Args:
        outcome: a comparison with layers; figures in steps of each layer's scale, or in dB.

    Returns:
        An anywidget; ``.picked`` is the layer that is shown.

    Raises:
        NotComparable: the comparison was made without layers, or no layer has a partner.
        MissingExtra: the extra ``[notebook]`` is not installed.
    """
    if not any(report.layers for report in outcome.layers):
        raise NotComparable("no layers to explore: make the comparison with quantdiff.diff(…, layers=True)")
    require("anywidget", extra="notebook")
    from quantdiff.report.notebook.explorer_widget import Explorer  # noqa: PLC0415 (needs the extra)

    return Explorer(tuple(report for report in outcome.layers if report.layers))


def state_of(reports: tuple[LayerReport, ...]) -> dict[str, Any]:
    """What the plots are drawn from, and where they begin: at the layer that adds most."""
    first = reports[0]
    counted = any(layer.figures.differing is not None for layer in first.layers)
    return {
        "data": reports_text(reports),
        "report": 0,
        "layer": next((at for at in (first.adds_most, first.first_differing) if at is not None), 0),
        "metric": "share" if counted else "sqnr_db",
    }


def reports_text(reports: tuple[LayerReport, ...]) -> str:
    """Engines and layers, every figure; infinities as strings, which JavaScript reads as numbers."""
    documents = [
        {
            "reference": report.reference,
            "candidate": report.candidate,
            "layers": [asdict(layer) for layer in report.layers],
        }
        for report in reports
    ]
    return json_text(documents)


def still_page(state: dict[str, Any]) -> str:
    """The plots as HTML that needs neither kernel nor network."""
    text = json_text(state).replace("<", "\\u003c")  # a name may hold </script>
    return PAGE.format(style=asset("explorer.css"), script=asset("explorer.js"), state=text)


def asset(name: str) -> str:
    """A file that ships with the package."""
    return files("quantdiff.report.notebook").joinpath("templates", name).read_text(encoding="utf-8")
