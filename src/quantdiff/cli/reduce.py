"""``quantdiff reduce``: something small that shows what a large model shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import INTERRUPTED, command, complain, say, spare_what_is_read
from quantdiff.cli.options import (
    Seconds,
    data_option,
    given_data,
    html_option,
    layout_option,
    reference_options,
    runtime_option,
    settings_of,
    timeout_option,
    tolerance_option,
    typed,
)


@command("quantdiff reduce float.tflite int8.tflite --data data.npz --check 'max_steps>1' --out small")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", required=False, type=click.Path(path_type=Path))
@data_option()
@click.option(
    "--check", required=True, metavar="EXPR", help="What shows: 'max_steps>1', or of one model: crash, differs."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for what is left.")
@click.option("--anonymous", is_flag=True, help="Other names and other weights, as far as the fault stays.")
@click.option(
    "--for", "limit", type=Seconds(), default="120s", show_default=True, help="Then the smallest so far is it.",
)  # fmt: skip
@html_option
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def reduce(as_json: bool, reference: Path, candidate: Path | None, check: str, out: Path, **options: Any) -> int:
    """Find the smallest model and the fewest samples that show a fault.

    CANDIDATE is the .tflite made from REFERENCE, which becomes a float .tflite. One .tflite alone is held against
    itself on two runtimes, crashes, or differs from the simulator.
    """
    from quantdiff import api
    from quantdiff.report.folder import write_reduction
    from quantdiff.report.json.reduction import reduction_document
    from quantdiff.report.json.text import json_text
    from quantdiff.report.text.reduction import reduction_text
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.search.fault import INPUTS, MODEL, REFERENCE

    read = {"models": (reference, candidate), **options}
    spare_what_is_read({f"--out, {name}": out / name for name in (MODEL, REFERENCE, INPUTS)}, read)
    models = [path for path in (reference, candidate) if path is not None]
    data = given_data(options, models[-1])
    html: Path | None = options.pop("html")
    limit, bare = options.pop("limit"), options.pop("anonymous")
    settings = settings_of(options)
    with progress_bar() as progress:
        found = api.reduce(models, data, check, settings, progress, limit=limit, bare=bare)
    write_reduction(found, out)
    if html is not None:
        from quantdiff.report.html.searched import reduction_page

        reduction_page(found, out, typed()).save(html)
    if as_json:
        click.echo(json_text(reduction_document(found, out)))
    else:
        say(reduction_text(found, out))
    if found.search.ended == "interrupted":
        complain(f"interrupted; the smallest so far is in {out}")
        return INTERRUPTED
    return 0
