"""An ``Inspection`` as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from quantdiff.explain.inspection import InspectedGraph, Inspection, RangedTensor
from quantdiff.graph import Model, Operator, Tensor
from quantdiff.report.netron import js_number, quantization_text
from quantdiff.report.plain import printable

CHANNELS_SHOWN = 4
WIDTH_IN_A_FILE = 200


def print_inspection(inspection: Inspection) -> None:
    """Write the tables to standard output: as wide as the terminal, or wide enough for a file."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE
    console.print(inspection_tables(inspection))


def inspection_tables(inspection: Inspection) -> RenderableType:
    """The model, then tensors and operators of each subgraph.

    Of a tensor with many channels the first ones are shown, unless it was asked for by name.
    """
    every_channel = inspection.pattern is not None
    parts: list[RenderableType] = [_heading(inspection.model)]
    for graph in inspection.graphs:
        if graph.tensors or not every_channel:
            title = printable(graph.name) or "unnamed"
            parts.append(Text(f"\nsubgraph {graph.index}: {title}", style="bold"))
            parts += [_tensors(graph, every_channel=every_channel), Text("operators", style="bold")]
            parts.append(_operators(graph))
    return Group(*parts)


def _heading(model: Model) -> Text:
    lines = [f"{model.path or 'model'}: TFLite version {model.version}"]
    lines += [f"description: {model.description}"] if model.description else []
    for signature in model.signatures:
        ends = (", ".join(f"{name} = {i}" for name, i in side) for side in (signature.inputs, signature.outputs))
        lines.append(f"signature {signature.key}: {' → '.join(ends)} (subgraph {signature.subgraph})")
    lines += [f"metadata {entry.name}: {entry.size} bytes" for entry in model.metadata]
    return Text("\n".join(map(printable, lines)))


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    return table


def _tensors(graph: InspectedGraph, *, every_channel: bool) -> Table:
    table = _grid()
    for ranged in graph.tensors:
        tensor = ranged.tensor
        text = Text(printable(tensor.name) or "unnamed", style="bold")
        text.append("".join(f"  {fact}" for fact in _facts(graph, tensor)), style="not bold cyan")
        for line in _quantization(ranged, every_channel=every_channel):
            text.append(f"\n{line}", style="not bold default")
        table.add_row(str(tensor.index), text)
    return table


def _facts(graph: InspectedGraph, tensor: Tensor) -> Iterator[str]:
    yield f"{tensor.dtype}{list(tensor.shape)}"
    if tensor.shape_signature not in {None, tensor.shape}:
        yield f"signature {list(tensor.shape_signature or ())}"
    if tensor.is_constant:
        yield f"{tensor.buffer_size} bytes"
    if tensor.is_variable:
        yield "variable"
    if tensor.sparsity:
        yield "sparse"
    if tensor.quant and tensor.quant.axis is not None:
        yield f"axis {tensor.quant.axis}"
    yield from (role for role, ends in _roles(graph) if tensor.index in ends)


def _roles(graph: InspectedGraph) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("input", graph.inputs), ("output", graph.outputs)


def _quantization(ranged: RangedTensor, *, every_channel: bool) -> list[str]:
    """Netron's lines, each with the range that scale and zero point give."""
    lines = _blocks(ranged.tensor) + quantization_text(ranged.tensor).splitlines()
    shown = len(lines) if every_channel or len(lines) <= CHANNELS_SHOWN + 1 else CHANNELS_SHOWN
    width = max(map(len, lines[:shown]), default=0)
    ranges = zip(ranged.min[:shown], ranged.max[:shown], strict=True)
    computed = (f"   computed {js_number(low)} … {js_number(high)}" for low, high in ranges)
    text = [f"{line:{width}}{extra}" for line, extra in zip_longest(lines[:shown], computed, fillvalue="")]
    return text if shown == len(lines) else [*text, f"… {len(lines) - shown} more: --tensor shows all"]


def _blocks(tensor: Tensor) -> list[str]:
    if (blocks := tensor.blocks) is None:
        return []
    extent = f"of {blocks.block_size}" if blocks.block_size else f"of shape {list(blocks.block_shape)}"
    along = f" along axes {list(blocks.axes)}" if blocks.axes else ""
    return [f"blocks {extent}{along}: scales in tensor {blocks.scales}, zero points in {blocks.zero_points}"]


def _operators(graph: InspectedGraph) -> Table:
    table = _grid()
    for op in graph.operators:
        ends = " → ".join(", ".join(map(str, side)) for side in (op.inputs, op.outputs))
        table.add_row(str(op.index), Text(printable(op.op), style="bold"), ends, Text(printable(_options(op))))
    return table


def _options(op: Operator) -> str:
    custom = [] if op.custom_options is None else [f"{op.custom_options.size} bytes"]
    return ", ".join(custom + [f"{name}={_shown(value)}" for name, value in op.options.items()])


def _shown(value: object) -> object:
    return f"{value.size} bytes" if isinstance(value, np.ndarray) else value
