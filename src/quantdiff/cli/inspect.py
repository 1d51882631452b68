"""``quantdiff inspect``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantdiff.cli.command import command

if TYPE_CHECKING:
    from quantdiff.load.containers import Section


@command("quantdiff inspect model.tflite --tensor 'conv2d*'")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tensor", "pattern", metavar="PATTERN", help="Part of a name, a shell pattern, or an index.")
def inspect(as_json: bool, model: Path, pattern: str | None) -> int:
    """Show what a .tflite file holds: tensors, quantization, operators.

    Quantization reads as Netron shows it; names stand whole. Of a .litertlm its sections; MODEL.litertlm#NAME is one.
    """
    from quantdiff.load.tflite import container_sections, load_tflite
    from quantdiff.parameters.inspection import inspect_model

    if sections := container_sections(model):
        return _show_sections(model, sections, as_json)
    inspection = inspect_model(load_tflite(model), pattern)
    if as_json:
        from quantdiff.report.json.inspection import inspection_json
        from quantdiff.report.json.text import json_text

        click.echo(json_text(inspection_json(inspection)))
    else:
        from quantdiff.report.text.inspection import inspection_text
        from quantdiff.report.text.terminal import Terminal
        from quantdiff.report.text.wrapped import laid_out

        click.echo(laid_out(inspection_text(inspection), Terminal().width))
    return 0


def _show_sections(container: Path, sections: tuple[Section, ...], as_json: bool) -> int:
    if as_json:
        from quantdiff.report.json.inspection import sections_json
        from quantdiff.report.json.text import json_text

        click.echo(json_text(sections_json(container, sections)))
    else:
        from quantdiff.report.text.inspection import print_sections
        from quantdiff.report.text.terminal import Terminal

        print_sections(container, sections, Terminal())
    return 0
