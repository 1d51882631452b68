"""An ``Inspection`` as tables, for a page that is wide enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from quantdiff.parameters.inspection import InspectedGraph, Inspection, RangedTensor
from quantdiff.report.text.inspection import CHANNELS_SHOWN, facts, heading, options, quantization
from quantdiff.report.text.terminal import printable


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
