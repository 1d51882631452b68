"""What files say by themselves, as text: an inspection with Netron's lines to the letter, and what lint found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby, islice, zip_longest
from math import isfinite
from operator import attrgetter
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from quantdiff.graph import Model, Operator, Tensor
from quantdiff.linting.lint import Finding, LintReport, Severity
from quantdiff.load.containers import Section
from quantdiff.parameters.inspection import InspectedGraph, Inspection, RangedTensor
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, printable

PLAIN_BELOW, PLAIN_FROM = 21, -6  # powers of ten between which JavaScript writes no exponent


def quantization_text(tensor: Tensor) -> str:
    """``min ≤ scale * (q - zero_point) ≤ max``; several channels as lines ``index: text``, nothing as ``""``."""
    return "\n".join(quantization_lines(tensor))


def quantization_lines(tensor: Tensor) -> Iterator[str]:
    """The lines of the text one by one: of a thousand channels a table shows a few."""
    scale = tensor.quant.scale if tensor.quant else ()
    stored = scale, tensor.stored_zero_point, tensor.stored_min, tensor.stored_max
    count = max(map(len, stored))
    width = len(str(count))
    for i, entries in enumerate(zip_longest(*stored)):
        yield f"{i:>{width}}: {_line(*entries)}" if count > 1 else _line(*entries)


def js_number(value: float) -> str:
    """``value`` as JavaScript's ``Number.prototype.toString`` prints it: 1e-7, 0.000001, 1e+21, NaN."""
    if not isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if value == 0:
        return "0"
    if "e" not in (text := repr(value)):  # both languages print the fewest digits that read back as the same
        return text.removesuffix(".0")
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)  # finite, as seen above
    return "-" * sign + _positional("".join(map(str, digits)), len(digits) + exponent)


def _positional(digits: str, point: int) -> str:
    """The digits with the decimal point behind the first ``point`` of them, as ECMA-262 lays them out."""
    if not PLAIN_FROM < point <= PLAIN_BELOW:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{digits[0]}{fraction}e{point - 1:+d}"
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _line(scale: float | None, zero_point: float | None, low: float | None, high: float | None) -> str:
    text = "q"
    if zero_point:
        text = f"q - {zero_point}" if zero_point > 0 else f"q + {-zero_point}"
    if scale is not None and scale != 1:
        text = f"{js_number(scale)} * {f'({text})' if zero_point else text}"
    if low:
        text = f"{js_number(low)} ≤ {text}"
    return f"{text} ≤ {js_number(high)}" if high else text


CHANNELS_SHOWN = 4


def inspection_text(inspection: Inspection) -> str:
    """The model, then tensors and operators of each subgraph.

    Of a tensor with many channels the first ones are shown, unless it was asked for by name.
    """
    channels = None if inspection.pattern is not None else CHANNELS_SHOWN
    lines = [*heading(inspection.model)]
    for graph in inspection.graphs:
        if graph.tensors or inspection.pattern is None:
            lines += ["", f"subgraph {graph.index}: {printable(graph.name) or 'unnamed'}"]
            lines += _tensors(graph, channels)
            lines += ["operators", *_operators(graph)] if graph.operators else []
    return "\n".join(lines)


def print_sections(container: Path, sections: Sequence[Section], console: Terminal) -> None:
    """A row a section of a container, and how a model in it is named."""
    rows = tuple(
        Row((str(s.index), s.name, s.kind, f"{s.end - s.begin:,}"), ", ".join(f"{k}={v}" for k, v in s.items))
        for s in sections
    )
    columns = Column("section"), Column("name", "name"), Column("kind", "word"), Column("bytes")
    console.print(Table(columns, rows, "says of itself"))
    first = next((s.name for s in sections if s.is_model), "")
    if first:
        console.print(f"\na model in every command: {container}#{first}", soft_wrap=True)


def heading(model: Model) -> Iterator[str]:
    """The file, its signatures and its metadata."""
    yield f"{printable(str(model.path or 'model'))}: TFLite version {model.version}"
    if model.description:
        yield f"description: {printable(model.description)}"
    for signature in model.signatures:
        inputs, outputs = (_named(ends) for ends in (signature.inputs, signature.outputs))
        where = f"subgraph {signature.subgraph}"
        yield f"signature {printable(signature.key)}: {inputs} → {outputs} ({where})"
    for entry in model.metadata:
        yield f"metadata {printable(entry.name)}: {entry.size} bytes"
    for entry in model.attached:
        yield f"zip archive behind the model, {printable(entry.name)}: {entry.size} bytes"


def _named(ends: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{printable(name)} = {index}" for name, index in ends)


def _tensors(graph: InspectedGraph, channels: int | None) -> Iterator[str]:
    width = max((len(str(each.tensor.index)) for each in graph.tensors), default=0)
    for ranged in graph.tensors:
        tensor = ranged.tensor
        name = printable(tensor.name) or "unnamed"
        yield "  ".join([f"{tensor.index:>{width}}", name, *facts(graph, tensor)])
        yield from (f"{'':{width}}    {line}" for line in quantization(ranged, channels))


def facts(graph: InspectedGraph, tensor: Tensor) -> Iterator[str]:
    """Type and shape, and what is special about a tensor."""
    yield f"{tensor.dtype}{list(tensor.shape)}"
    if tensor.shape_signature not in {None, tensor.shape}:
        yield f"signature {list(tensor.shape_signature or ())}"
    if tensor.is_constant:
        yield f"{tensor.buffer_size} bytes"
    if tensor.quant and tensor.quant.axis is not None:
        yield f"axis {tensor.quant.axis}"
    yield from (word for word, is_so in _words(graph, tensor) if is_so)


def _words(graph: InspectedGraph, tensor: Tensor) -> tuple[tuple[str, bool], ...]:
    return (
        ("variable", tensor.is_variable),
        ("sparse", tensor.sparsity is not None),
        ("input", tensor.index in graph.inputs),
        ("output", tensor.index in graph.outputs),
    )


def quantization(ranged: RangedTensor, channels: int | None) -> Iterator[str]:
    """Netron's lines, each with the range that scale and zero point give; ``channels`` of them, None for all."""
    yield from _blocks(ranged.tensor)
    count = max(len(ranged.min), len(ranged.tensor.stored_min), len(ranged.tensor.stored_max))
    shown = count if channels is None or count <= channels + 1 else channels
    lines = [*islice(quantization_lines(ranged.tensor), shown)]
    width = max(map(len, lines), default=0)
    ranges = zip(ranged.min[:shown], ranged.max[:shown], strict=True)
    computed = (f"   computed {js_number(low)} … {js_number(high)}" for low, high in ranges)
    yield from (f"{line:{width}}{extra}" for line, extra in zip_longest(lines, computed, fillvalue=""))
    if shown < count:
        yield f"… {count - shown} more: --tensor {ranged.tensor.index} shows all"


def _blocks(tensor: Tensor) -> Iterator[str]:
    if (blocks := tensor.blocks) is not None:
        extent = f"of {blocks.block_size}" if blocks.block_size else f"of shape {list(blocks.block_shape)}"
        along = f" along axes {list(blocks.axes)}" if blocks.axes else ""
        yield f"blocks {extent}{along}: scales in tensor {blocks.scales}, zero points in {blocks.zero_points}"


def _operators(graph: InspectedGraph) -> Iterator[str]:
    width = max((len(str(op.index)) for op in graph.operators), default=0)
    longest = max((len(printable(op.op)) for op in graph.operators), default=0)
    for op in graph.operators:
        ends = " → ".join(", ".join(map(str, side)) for side in (op.inputs, op.outputs))
        line = f"{op.index:>{width}}  {printable(op.op):{longest}}  {ends}  {options(op)}"
        yield line.rstrip()


def options(op: Operator) -> str:
    """``name=value`` of every option that the operator has."""
    custom = [] if op.custom_options is None else [f"{op.custom_options.size} bytes of options"]
    return printable(", ".join(custom + [f"{name}={_shown(value)}" for name, value in op.options.items()]))


def _shown(value: object) -> object:
    return f"{value.size} bytes" if isinstance(value, np.ndarray) else value


PLACES_SHOWN = 8
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}


def print_lint(report: LintReport, console: Terminal) -> None:
    """Print the findings; in a file no line ends in blanks."""
    if console.is_terminal:
        console.print(lint_text(report))
        return
    with console.capture() as capture:
        console.print(lint_text(report))
    for line in capture.get().splitlines():
        console.out(line.rstrip())


def lint_text(report: LintReport) -> RenderableType:
    """The findings by severity and code, each code with what it means and what to do; then the counts."""
    parts = [_code(list(found)) for _, found in groupby(report.findings, attrgetter("severity", "code"))]
    return Group(*parts, Text(summary(report), style="bold"))


def summary(report: LintReport) -> str:
    """``model.tflite: 0 errors, 2 warnings, 5 infos``."""
    counts = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in report.counts.items())
    return f"{printable(str(report.model.path or 'model'))}: {counts}"


def _code(found: list[Finding]) -> RenderableType:
    first = found[0]
    title = Text.assemble(
        (first.severity.value, STYLES[first.severity]), "  ", (first.code, "bold"), f"  {first.message}"
    )
    rows = tuple(Row(_place(finding), finding.evidence) for finding in found[:PLACES_SHOWN])
    places: list[RenderableType] = [Table((Column("", "word"), Column("", "name")), rows)]
    if len(found) > PLACES_SHOWN:
        places.append(Text(f"… {len(found) - PLACES_SHOWN} more: --json lists all", style="dim"))
    advice = Text(first.advice, style="dim")
    return Group(
        title, Padding(Group(*places), (0, 0, 0, 2), expand=False), Padding(advice, (0, 0, 1, 2), expand=False)
    )


def _place(finding: Finding) -> tuple[str, str]:
    """``operator 7 CONV_2D``, and its name, which may be long."""
    what, _, name = finding.place.text.rpartition(" ")
    return what, name
