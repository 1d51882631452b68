"""``quantdiff extract``: a part of a model as a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command, say
from quantdiff.cli.options import RuntimeName, data_option, given_data, output_file, timeout_option, whole


def numbers(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """``3-7,9`` as integers."""
    found = list[int]()
    for part in text.split(","):
        first, _dash, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or len(first + last) > 12:  # noqa: PLR2004
            raise click.BadParameter(f"{text!r}: give numbers of operators, such as 3-7 or 3,5,9", param=option)
        found += range(int(first), min(int(last or first), int(first) + 10**6) + 1)
    return tuple(dict.fromkeys(found))


@command("quantdiff extract model.tflite --ops 3-7 --data data.npz --out part.tflite --inputs part.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--ops", required=True, callback=numbers, metavar="3-7", help="Numbers of operators, as inspect lists them."
)
@data_option(required=False)
@click.option(
    "--out",
    required=True,
    callback=output_file,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .tflite to write.",
)
@click.option("--inputs", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Also write what goes in there, as .npz.")  # fmt: skip
@click.option("--samples", type=whole(1), default=64, show_default=True, help="The first of the data.")
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def extract(as_json: bool, model: Path, ops: tuple[int, ...], out: Path, inputs: Path | None, **options: Any) -> int:
    """Cut operators out of a model into a .tflite of its own.

    With --inputs also what it is given in the whole. The status is 1 where it gives else than there.
    """
    from quantdiff.report.folder import save_batch, written
    from quantdiff.report.json.extract import extract_document
    from quantdiff.report.json.text import json_text
    from quantdiff.report.text.extract import extract_text
    from quantdiff.run.extracts import load_and_extract

    data = given_data(options, model)
    part = load_and_extract(model, ops, data, options["runtime"], options["samples"], options["timeout"])
    with written(out) as file:
        file.write_bytes(part.model)
    if inputs is not None:
        with written(inputs) as file:
            save_batch(file, part.batch)
    told = part, model, out, inputs
    if as_json:
        click.echo(json_text(extract_document(*told)))
    else:
        say(extract_text(*told))
    return int(bool(part.mismatches))
