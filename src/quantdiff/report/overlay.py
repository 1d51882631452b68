"""Figures of layers → node data for Model Explorer: a file per metric and per rung, which paints the graph.

The format is that of ``GraphNodeData`` (google-ai-edge/model-explorer, ``model_explorer/node_data_builder.py``): a
value by tensor name. A value that is no number has no place on the gradient and brings its own colour.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport
from quantdiff.graph import Graph
from quantdiff.ladder.explanation import Explanation
from quantdiff.linting.lint import counted
from quantdiff.report.text.terminal import prepared_data, printable

LEAST, MOST, EQUAL = (255, 247, 188), (215, 48, 31), "#a1d99b"
"""The smallest error and the largest of a file, and no error at all; what is not compared stays white."""
METRICS: Mapping[str, Callable[[LayerFigures], float | None]] = {
    "differing": lambda f: None if f.differing is None else f.differing / f.count,
    "max_steps": lambda f: f.max_steps,
    "rmse_steps": lambda f: f.rmse_steps,
    "sqnr_db": lambda f: f.sqnr_db,
    "max_abs_error": lambda f: f.max_abs_error,
    "clipped": lambda f: None if f.clipped_low is None or f.clipped_high is None else f.clipped_low + f.clipped_high,
}
"""Named as in the JSON of ``diff``; ``differing`` and ``clipped`` are shares of the elements."""
MORE_IS_BETTER = ("sqnr_db",)
LOCAL, SAME, NOISE = "local_", "equal", "noise only"
Value = float | str


@dataclass(frozen=True, slots=True)
class Overlay:
    """One file: the ``runtime`` and ``what`` it shows, and a value per tensor.

    ``largest`` has the strongest colour where several files share one scale; None where the file has its own.
    """

    runtime: str
    what: str
    values: Mapping[str, Value]
    largest: float | None = None

    @property
    def file(self) -> str:
        """``xnnpack-local_max_steps.json``: the name under which Model Explorer lists it."""
        return f"{self.runtime}-{self.what}.json"

    @property
    def more_is_better(self) -> bool:
        """Whether the smallest value is the largest error."""
        return self.what.removeprefix(LOCAL) in MORE_IS_BETTER

    def document(self) -> dict[str, Any]:
        """What the file holds."""
        ends = (MOST, LEAST) if self.more_is_better else (LEAST, MOST)
        gradient = [{"stop": stop, "bgColor": _hex(colour)} for stop, colour in enumerate(ends)]
        return {"results": {name: self._painted(value) for name, value in self.values.items()}, "gradient": gradient}

    def _painted(self, value: Value) -> dict[str, Value]:
        if value == NOISE:
            return {"value": value, "bgColor": _hex(MOST)}
        if isinstance(value, str) or (value == 0 and not self.more_is_better):
            return {"value": value, "bgColor": EQUAL}
        return {"value": value} if not self.largest else {"value": value, "bgColor": _shade(value / self.largest)}


def layer_overlays(report: LayerReport, graph: Graph) -> Iterator[Overlay]:
    """A file per metric, as it happens and each layer alone; none where a metric has no meaning for any layer."""
    names, runtime = unique_names(graph), report.candidate.rpartition(":")[2]
    layers = [layer for layer in report.layers if layer.candidate in names]
    for metric, figure in METRICS.items():
        accumulated = {layer.candidate: figure(layer.figures) for layer in layers}
        alone = {layer.candidate: figure(layer.local) for layer in layers if layer.local is not None}
        for what, values in ((metric, accumulated), (f"{LOCAL}{metric}", alone)):
            known = {name: _value(value) for name, value in values.items() if value is not None}
            if known:
                yield Overlay(runtime, what, known)


def rung_overlays(explanation: Explanation, graph: Graph) -> Iterator[Overlay]:
    """A file per rung: the share of elements that still differ, as it happens and each layer alone, on one scale."""
    names = unique_names(graph)
    layers = [layer for layer in explanation.layers if layer.tensor in names and layer.count]
    for prefix, counts in (("", "differing_after"), (LOCAL, "local")):
        shares = {layer.tensor: [each / layer.count for each in getattr(layer, counts)] for layer in layers}
        largest = max((share for each in shares.values() for share in each), default=0.0)
        for place, rung in enumerate(explanation.rungs):
            values: dict[str, Value] = {name: each[place] for name, each in shares.items()}
            if values:
                yield Overlay(explanation.runtime, f"{prefix}rung{place}_{rung.mechanism}", values, largest)


def unique_names(graph: Graph) -> frozenset[str]:
    """The names that one tensor has alone: another name would paint several nodes."""
    return frozenset(name for name, many in Counter(tensor.name for tensor in graph.tensors).items() if many == 1)


def overlays_document(overlays: Iterable[Overlay], made_by: Mapping[str, object]) -> dict[str, Any]:
    """What ``overlay --json`` prints: which file shows what, and how many nodes it paints."""
    files = [{"file": o.file, "runtime": o.runtime, "shows": o.what, "nodes": len(o.values)} for o in overlays]
    return {"schema": "quantdiff/1", **made_by, "files": files}


def overlays_text(overlays: Iterable[Overlay], model: Path, out: Path, data: str = "") -> str:
    """A line per file, how the data were prepared, and how to look at them."""
    lines = [f"{overlay.file}  {counted(len(overlay.values), 'node')}" for overlay in overlays]
    first = out / next((overlay.file for overlay in overlays), "")
    if of := prepared_data(data):
        lines.append(f"figures{of}")
    return "\n".join([*lines, "", printable(f"model-explorer {model} --node_data_paths={first}")])


def _value(value: float) -> Value:
    """JSON has no infinity, and Model Explorer's gradient no place for it."""
    return value if math.isfinite(value) else SAME if value > 0 else NOISE


def _shade(share: float) -> str:
    """The colour ``share`` of the way from no error to the largest."""
    return _hex(tuple(round(a + (b - a) * share) for a, b in zip(LEAST, MOST, strict=True)))


def _hex(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
