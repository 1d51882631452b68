"""The command line: a handler parses, calls one function, prints."""

from pathlib import Path

import click


@click.group()
def main() -> None:
    """Where, by how much and why a quantized model differs from the one that was trained."""


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tensor", "pattern", metavar="PATTERN", help="Part of a name, a shell pattern, or an index.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, at full precision.")
def inspect(model: Path, pattern: str | None, as_json: bool) -> None:
    """Show what a .tflite file holds: tensors, quantization as Netron shows it, operators."""
    from quantdiff.explain.inspection import inspect_model
    from quantdiff.load.tflite import load_tflite

    inspection = inspect_model(load_tflite(model), pattern)
    if as_json:
        from quantdiff.report.inspection_json import inspection_json
        from quantdiff.report.plain import json_text

        click.echo(json_text(inspection_json(inspection)))
    else:
        from quantdiff.report.inspection import inspection_text

        click.echo(inspection_text(inspection))
