"""``Parameters`` as text for the terminal: a table for anybody's pair, sections for the experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

from rich.text import Text

from quantdiff.parameters.quantizers import Parameters, Range, Row
from quantdiff.report.text.terminal import NO_VALUE, Column, Table, Terminal, prepared_data, short
from quantdiff.report.text.terminal import Row as TableRow

ROWS_AT_MOST = 2_000  # of the table; JSON has them all
COLUMNS = {  # field of a row → heading
    "direct": "variable",
    "folded": "× batch norm",
    "nudged": "fake-quant",
    "file": "file",
    "stored": "stored",
    "keras": "in Keras",
    "tflite": "in TFLite",
    "by_hand": "by hand",
}
FRAMEWORKS = {".onnx": "in ONNX", ".pt2": "in PyTorch", ".tflite": "in the reference", ".litertlm": "in the reference"}
"""By the ending of the reference's file: the heading of what was observed there, where it is not Keras."""
SECTIONS = {  # heading → fields of a row, and what to write in front of the name
    "Directly from the QAT model": {"direct": ""},
    "From the TFLite model, by its scales and zero points": {"file": ""},
    "From intermediate outputs": {"keras": "QAT", "tflite": "TFLite"},
    "From manual computation": {"by_hand": ""},
}


def print_parameters(
    parameters: Parameters, console: Terminal, *, channels: bool = False, unmatched: bool = False
) -> None:
    """Print the table and how it came about; ``channels`` one by one."""
    for part in parameters_parts(parameters, channels=channels, unmatched=unmatched):
        console.print(part, soft_wrap=isinstance(part, Text))


def parameters_parts(
    parameters: Parameters, *, channels: bool = False, unmatched: bool = False
) -> Iterator[Text | Table]:
    """What is printed, line by line and table by table."""
    yield from (Text(line, style="yellow") for line in parameters.warnings)
    if parameters.accuracy:
        yield from map(Text, _experiment(parameters))
    yield _table(parameters, channels=channels)
    yield from (Text(line, style="dim") for line in _footer(parameters, unmatched=unmatched))


def _experiment(parameters: Parameters) -> Iterator[str]:
    """Devices, the check of zero, accuracies, and the values section by section, aligned in columns."""
    yield _versions(parameters)
    yield f"devices: {', '.join(parameters.devices)}"
    for check in parameters.zero_checks:
        said = "exact" if check.value == 0 else "NOT EXACT"
        yield (
            f"fake-quant of 0.0, {check.kind} range {check.low:.6f} … {check.high:.6f} "
            f"({check.quantizer}): {check.value} ({said}) on {check.device}"
        )
    for engine, accuracy in parameters.accuracy.items():
        yield f"accuracy {engine}: {accuracy:.4f}"
    for title, fields in SECTIONS.items():
        lines = list(_section(parameters, fields))
        width = max((len(name) for name, _ in lines), default=0)
        yield f"\n{title}"
        yield from (f"{name:{width}}  {value:>12.6f}" for name, value in lines)
    yield ""


def _section(parameters: Parameters, fields: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for row in parameters.rows:
        for field, side in fields.items():
            ends = getattr(row, field)
            if ends is not None and not (field in ("keras", "tflite") and row.role != "output"):
                name = f"{side} {_name(row)}".strip()
                yield f"{name}_min", min(ends.low)
                yield f"{name}_max", max(ends.high)


def _table(parameters: Parameters, *, channels: bool) -> Table:
    """Two lines a quantizer, min and max; of several channels the outermost ends, and each one if asked for."""
    shown = [name for name in COLUMNS if any(getattr(row, name) is not None for row in parameters.rows)]
    rows = chain.from_iterable((row, *(_channels(row) if channels else ())) for row in parameters.rows)
    lines = chain.from_iterable(_lines(row, shown) for row in islice(rows, ROWS_AT_MOST))
    headings = (*(heading(name, parameters) for name in shown), "scale", "zero point")
    return Table((Column("quantizer", "name"), *map(Column, headings)), tuple(lines), "what explains it")


def heading(name: str, parameters: Parameters) -> str:
    """The heading of a field; what the reference showed is named by its framework."""
    if name != "keras":
        return COLUMNS[name]
    file = parameters.artifacts.get("reference", "").partition("#")[0]
    return "in PyTorch" if ".py:" in file else FRAMEWORKS.get(PurePath(file).suffix, COLUMNS[name])


def _lines(row: Row, shown: Sequence[str]) -> tuple[TableRow, TableRow]:
    lows, highs = zip(*(_two(getattr(row, name)) for name in shown), strict=True)
    words = "; ".join(reason.text for reason in row.reasons)
    name = _name(row)
    return TableRow((f"{name}_min", *lows, *as_map(row))), TableRow((f"{name}_max", *highs, "", ""), words)


def _channels(row: Row) -> Iterator[Row]:
    """The row cut into one per channel; a value that the channels share stands in each."""
    values: dict[str, Any] = {name: ends for name in COLUMNS if (ends := getattr(row, name)) is not None}
    count = max((len(ends.low) for ends in values.values()), default=1)
    for i in range(count if count > 1 else 0):
        cut = {name: _channel(ends, i) for name, ends in values.items() if len(ends.low) in (1, count)}
        changes: dict[str, Any] = {**dict.fromkeys(values), **cut}
        yield replace(row, quantizer=f"{row.quantizer}[{i}]", reasons=(), **changes)


def _channel(ends: Range, i: int) -> Range:
    low, high, scale = (part[i : i + 1] if len(part) > 1 else part for part in (ends.low, ends.high, ends.scale))
    return Range(low, high, scale, ends.zero_point[i : i + 1] if len(ends.zero_point) > 1 else ends.zero_point)


def _two(ends: Range | None) -> tuple[str, str]:
    return (NO_VALUE, NO_VALUE) if ends is None else (f"{min(ends.low):.6f}", f"{max(ends.high):.6f}")


def as_map(row: Row) -> tuple[str, str]:
    """Scale and zero point of the file as text; of several channels how many they are."""
    if row.file is None or not row.file.scale:
        return NO_VALUE, NO_VALUE
    points = ", ".join(map(str, sorted(set(row.file.zero_point))))
    if len(row.file.scale) > 1:
        return f"{len(row.file.scale)} channels", points
    return f"{row.file.scale[0]:.6g}", points


def _footer(parameters: Parameters, *, unmatched: bool) -> Iterator[str]:
    yield ""
    if len(parameters.rows) > ROWS_AT_MOST:
        yield f"the first {ROWS_AT_MOST:,} of {len(parameters.rows):,} quantizers; --json has them all"
    for side, names in (("file", parameters.only_reference), ("reference", parameters.only_tflite)):
        if names and unmatched:
            yield from (f"without a partner in the {side}: {short(name)}" for name in names)
        elif names:
            yield f"without a partner in the {side}: {len(names):,} of the other's; --unmatched lists them"
    if parameters.engines:
        data = prepared_data(parameters.artifacts.get("data", ""))
        yield f"observed on {parameters.made_by.get('samples')} samples{data}: {', '.join(parameters.engines)}"
    yield from parameters.notes
    if not parameters.accuracy:
        yield _versions(parameters)


def _versions(parameters: Parameters) -> str:
    versions = parameters.made_by.get("versions")
    return ", ".join(f"{name} {v}" for name, v in versions.items()) if isinstance(versions, Mapping) else ""


def parameters_document(parameters: Parameters) -> dict[str, Any]:
    """Everything at full precision; lists have one entry per tensor or per channel."""
    document = asdict(parameters)
    rows = [{name: value for name, value in row.items() if value is not None} for row in document.pop("rows")]
    lost = {"reference": document.pop("only_reference"), "tflite": document.pop("only_tflite")}
    return {"schema": "quantdiff/1", **document.pop("made_by"), "rows": rows, "unaligned": lost, **document}


def _name(row: Row) -> str:
    """The layer by the first path of its name, and the quantizer."""
    return f"{short(row.layer)}/{row.quantizer}"
