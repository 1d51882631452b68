"""``quantdiff worst``: how bad it can get on inputs that nobody has tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import INTERRUPTED, command, complain, say
from quantdiff.cli.options import (
    Number,
    RuntimeName,
    Seconds,
    data_option,
    given_data,
    html_option,
    layout_option,
    output_file,
    reference_options,
    settings_of,
    timeout_option,
    typed,
)


@command("quantdiff worst float.tflite int8.tflite --data data.npz --out worst.npz")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(required=False)
@click.option("--out", required=True, callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="The inputs, as .npz.")  # fmt: skip
@click.option("--for", "limit", type=Seconds(), default="30s", show_default=True, help="How long to search.")
@click.option(
    "--near", metavar="EPS", type=Number(min=0, min_open=True), help="Stay so near to a sample, in units of the data."
)
@html_option
@reference_options
@layout_option
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def worst(as_json: bool, reference: Path, candidate: Path, out: Path, html: Path | None, **options: Any) -> int:
    """Search for the input on which two models differ most.

    And for one that they decide otherwise. The search begins with the samples of --data and stays between their least
    and their most; without data it begins with random ones.
    """
    from quantdiff import api
    from quantdiff.report.folder import save_batch, written
    from quantdiff.report.json.text import json_text
    from quantdiff.report.json.worst import worst_document
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.report.text.worst import worst_text

    data, limit, near = given_data(options, candidate), options.pop("limit"), options.pop("near")
    settings = settings_of({**options, "runtimes": (options.pop("runtime"),)})
    with written(out) as file:
        with progress_bar() as progress:
            found = api.worst(reference, candidate, data, settings, progress, limit=limit, near=near)
        save_batch(file, found.batch)
    if html is not None:
        from quantdiff.report.html.searched import worst_page

        worst_page(found, out, typed()).save(html)
    if as_json:
        click.echo(json_text(worst_document(found, out)))
    else:
        say(worst_text(found, out))
    if found.interrupted:
        complain(f"interrupted; the worst so far is in {out}")
        return INTERRUPTED
    return 0
