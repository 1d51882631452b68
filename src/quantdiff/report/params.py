"""``Parameters`` as text and as the JSON document of ``params``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantdiff.explain.quantizers import Ends, Parameters, Row
from quantdiff.report.plain import printable

WIDTH_IN_A_FILE = 200
NO_VALUE = "–"
COLUMNS = {  # field of a row → heading
    "direct": "variable",
    "folded": "× batch norm",
    "nudged": "fake-quant",
    "file": "file",
    "stored": "stored",
    "keras": "seen {0}",
    "tflite": "seen {1}",
    "by_hand": "by hand",
}


def print_parameters(parameters: Parameters) -> None:
    """Write the table to standard output: as wide as the terminal, or wide enough for a file."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE
    console.print(_table(parameters))
    for line in _footer(parameters):
        console.print(Text(line, style="dim"), soft_wrap=True)


def _table(parameters: Parameters) -> Table:
    """Two lines a quantizer, min and max; of several channels the outermost ends."""
    shown = [name for name in COLUMNS if any(getattr(row, name) is not None for row in parameters.rows)]
    engines = [*parameters.engines[:-1], *[""] * (2 - len(parameters.engines)), *parameters.engines[-1:]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("quantizer", no_wrap=True)
    for name in shown:
        table.add_column(
            COLUMNS[name].format(*(engine.split(":")[0] for engine in engines or ("", ""))), justify="right"
        )
    table.add_column("scale", justify="right")
    table.add_column("zero point", justify="right")
    table.add_column("what explains it")
    for row in parameters.rows:
        ends = [_two(getattr(row, name)) for name in shown]
        words = "; ".join(reason.text for reason in row.reasons)
        table.add_row(f"{printable(row.name)}_min", *(low for low, _ in ends), *_map(row), printable(words))
        table.add_row(f"{printable(row.name)}_max", *(high for _, high in ends), "", "", "")
    return table


def _two(ends: Ends | None) -> tuple[str, str]:
    return (NO_VALUE, NO_VALUE) if ends is None else (f"{min(ends.low):.6f}", f"{max(ends.high):.6f}")


def _map(row: Row) -> tuple[str, str]:
    if row.file is None or not row.file.scale:
        return NO_VALUE, NO_VALUE
    if len(row.file.scale) > 1:
        return f"{len(row.file.scale)} channels", NO_VALUE
    return f"{row.file.scale[0]:.6g}", str(row.file.zero_point[0])


def _footer(parameters: Parameters) -> Iterator[str]:
    yield ""
    for side, names in (("reference", parameters.only_reference), ("file", parameters.only_tflite)):
        if names:
            yield f"without a partner in the {side}: {', '.join(map(printable, names))}"
    yield from parameters.notes
    versions = parameters.made_by.get("versions")
    if isinstance(versions, Mapping):
        yield ", ".join(f"{name} {version}" for name, version in versions.items())


def parameters_document(parameters: Parameters) -> dict[str, Any]:
    """Everything at full precision; lists have one entry per tensor or per channel."""
    return {
        "schema": "quantdiff/1",
        **parameters.made_by,
        "rows": [{name: value for name, value in asdict(row).items() if value is not None} for row in parameters.rows],
        "unaligned": {"reference": list(parameters.only_reference), "tflite": list(parameters.only_tflite)},
        "engines": list(parameters.engines),
        "notes": list(parameters.notes),
        "artifacts": dict(parameters.artifacts),
    }
