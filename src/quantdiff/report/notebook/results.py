"""Results → the page that a notebook shows: the terminal's tables and lines as HTML, an inspection wider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from quantdiff.compare.comparison import Comparison
from quantdiff.compare.layers.report import LayerReport
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.compare.verdict import Verification
from quantdiff.experiment.summary import Summary
from quantdiff.identifying.identification import Identification
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.linting.lint import LintReport
from quantdiff.paper.working import Working
from quantdiff.parameters.inspection import InspectedGraph, Inspection, RangedTensor
from quantdiff.parameters.quantizers import Parameters
from quantdiff.report.notebook.page import page
from quantdiff.report.text.explanation import print_explanation
from quantdiff.report.text.files import CHANNELS_SHOWN, facts, heading, lint_text, options, quantization
from quantdiff.report.text.outcome import print_layers, print_outcome
from quantdiff.report.text.params import parameters_parts
from quantdiff.report.text.runtimes import print_identification
from quantdiff.report.text.study import summary_parts
from quantdiff.report.text.terminal import Terminal, printable
from quantdiff.report.text.verification import print_verification
from quantdiff.report.text.working import working_text


def html_of(value: object) -> str:
    """What a notebook shows for a result of this package; names in it stay text."""
    return page(parts_of(value))


@singledispatch
def parts_of(value: object) -> Iterable[RenderableType]:
    """The tables and lines of a result, as the terminal has them."""
    raise TypeError(f"no page for {type(value).__name__}")


class _Collector(Terminal):
    """A console that keeps what it is given to print."""

    def __init__(self) -> None:
        super().__init__(force_terminal=False, width=1)
        self.parts: list[RenderableType] = []

    def print(self, *parts: Any, **_: Any) -> None:
        self.parts += parts


def _printed(show: Callable[[Any, Terminal], None], value: object) -> list[RenderableType]:
    collector = _Collector()
    show(value, collector)
    return collector.parts


@parts_of.register
def _(value: Outcome) -> Iterable[RenderableType]:
    return [*_printed(print_outcome, value), *map(_failure, value.failures)]


@parts_of.register
def _(value: Comparison) -> Iterable[RenderableType]:
    return _printed(print_outcome, Outcome({}, (value,), notes=value.notes))


@parts_of.register
def _(value: LayerReport) -> Iterable[RenderableType]:
    return _printed(print_layers, value)


@parts_of.register
def _(value: Explanation) -> Iterable[RenderableType]:
    return _printed(print_explanation, value)


@parts_of.register
def _(value: Explanations) -> Iterable[RenderableType]:
    return [*(part for each in value.found for part in parts_of(each)), *map(_failure, value.failures)]


@parts_of.register
def _(value: Verification) -> Iterable[RenderableType]:
    return _printed(print_verification, value)


@parts_of.register
def _(value: Identification) -> Iterable[RenderableType]:
    return _printed(print_identification, value)


@parts_of.register
def _(value: Parameters) -> Iterable[RenderableType]:
    return parameters_parts(value)


@parts_of.register
def _(value: Summary) -> Iterable[RenderableType]:
    return summary_parts(value)


@parts_of.register
def _(value: LintReport) -> Iterable[RenderableType]:
    return [lint_text(value)]


@parts_of.register
def _(value: Inspection) -> Iterable[RenderableType]:
    return inspection_parts(value)


@parts_of.register
def _(value: Working) -> Iterable[RenderableType]:
    return [Text(working_text(value))]


def _failure(failure: Failure) -> Text:
    return Text(failure.error, style="red")


def inspection_parts(inspection: Inspection) -> Iterator[Text | Table]:
    """The model, then tensors and operators of each subgraph; of many channels the first ones, as on the terminal."""
    yield from map(Text, heading(inspection.model))
    channels = None if inspection.pattern is not None else CHANNELS_SHOWN
    for graph in inspection.graphs:
        if graph.tensors or inspection.pattern is None:
            yield Text(f"subgraph {graph.index}: {printable(graph.name) or 'unnamed'}", style="bold")
            yield _tensors(graph, channels)
            yield _operators(graph)


def _tensors(graph: InspectedGraph, channels: int | None) -> Table:
    table = _table("#", "tensor", "what", "quantization")
    for ranged in graph.tensors:
        tensor = ranged.tensor
        name = printable(tensor.name) or "unnamed"
        _add(table, (tensor.index, name, "  ".join(facts(graph, tensor)), _lines(ranged, channels)))
    return table


def _lines(ranged: RangedTensor, channels: int | None) -> str:
    return "\n".join(line.strip() for line in quantization(ranged, channels))


def _operators(graph: InspectedGraph) -> Table:
    table = _table("#", "operator", "inputs → outputs", "options")
    for op in graph.operators:
        ends = " → ".join(", ".join(map(str, side)) for side in (op.inputs, op.outputs))
        _add(table, (op.index, printable(op.op), ends, options(op)))
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns)
    table.columns[0].justify = "right"
    return table


def _add(table: Table, cells: Sequence[object]) -> None:
    table.add_row(*(Text(str(cell)) for cell in cells))
