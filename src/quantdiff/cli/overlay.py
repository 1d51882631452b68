"""``quantdiff overlay``: the error, painted on the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import TROUBLE, command, complain, say
from quantdiff.cli.options import (
    data_option,
    given_parts,
    layout_option,
    reference_options,
    runtime_option,
    settings_of,
    spread,
    spread_options,
    timeout_option,
    tolerance_option,
)


@command("quantdiff overlay qat.h5 model.tflite --data data.npz --out overlays")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the files.")
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def overlay(as_json: bool, reference: Path, candidate: Path, out: Path, **options: Any) -> int:
    """Write each layer's error as node data for Model Explorer.

    It paints them on the graph of CANDIDATE. A file per metric, and per rung of explain where REFERENCE is a
    Keras model.
    """
    from quantdiff import api
    from quantdiff.report.json.text import json_text
    from quantdiff.report.overlay import overlays_document, overlays_text
    from quantdiff.report.text.terminal import progress_bar

    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on)
        made = api.overlay(reference, candidate, data, out, settings_of(options), progress)
    source = made.outcome.artifacts["data"]
    if as_json:
        made_by = {**made.outcome.made_by, "command": "overlay", "data": source}
        click.echo(json_text(overlays_document(made.written, made_by)))
    else:
        say(overlays_text(made.written, candidate, out, source))
    for failure in made.failures:
        complain(failure.error)
    return TROUBLE if made.failures else 0
