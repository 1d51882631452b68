"""``quantdiff vectors``: golden vectors per operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command, say
from quantdiff.cli.options import RuntimeName, data_option, given_data, tell_what_is_simulated, timeout_option, whole


@command("quantdiff vectors model.tflite --data data.npz --out golden --format c")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the vectors.")
@click.option("--format", "form", type=click.Choice(["npz", "c", "hex"]), default="npz", show_default=True)
@click.option("--runtime", type=RuntimeName(), help="Default tflm for c and hex, xnnpack for npz.")
@click.option("--samples", type=whole(1), default=4, show_default=True, help="The first of the data.")
@timeout_option
def vectors(as_json: bool, model: Path, out: Path, form: str, **options: Any) -> int:
    """Write golden vectors per operator, for whoever implements kernels.

    Each holds inputs, weights, accumulators and outputs.
    """
    from quantdiff.paper.vectors import load_and_record
    from quantdiff.report.json.text import json_text
    from quantdiff.report.vectors.write import summary, write_vectors

    name = options["runtime"] or ("xnnpack" if form == "npz" else "tflm")
    tell_what_is_simulated(name)
    golden = load_and_record(model, given_data(options, model), name, options["samples"], options["timeout"])
    document = write_vectors(golden, model, out, form)
    if as_json:
        click.echo(json_text(document))
    else:
        say(summary(golden, out, form))
    return 0
