"""The widget behind ``explore``; importing this needs anywidget."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.notebook.explorer import asset, state_of, still_page


class Explorer(anywidget.AnyWidget):
    """Layers of a comparison; ``report``, ``layer`` and ``metric`` follow what is picked, and may be set."""

    _esm = asset("explorer.js")
    _css = asset("explorer.css")
    data = traitlets.Unicode().tag(sync=True)
    report = traitlets.Int(min=0).tag(sync=True)
    layer = traitlets.Int(min=0).tag(sync=True)
    metric = traitlets.Enum(("share", "max_steps", "rmse_steps", "sqnr_db", "max_abs_error")).tag(sync=True)

    def __init__(self, reports: tuple[LayerReport, ...]) -> None:
        self._reports = reports
        super().__init__(**state_of(reports))

    @property
    def picked(self) -> LayerResult:
        """The layer that is shown, with all its figures."""
        layers = self._reports[self.report].layers
        return layers[min(self.layer, len(layers) - 1)]

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget; for pages without a kernel the same plots as HTML, which remember where the widget was."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        state = {name: getattr(self, name) for name in ("data", "report", "layer", "metric")}
        return {**bundle[0], "text/html": still_page(state)}, bundle[1]
