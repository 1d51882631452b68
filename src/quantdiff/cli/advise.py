"""``quantdiff advise``: what to change, and the files that carry it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import INTERRUPTED, command
from quantdiff.cli.options import (
    data_option,
    given_parts,
    html_option,
    layout_option,
    metric_option,
    output_file,
    reference_options,
    runtime_option,
    settings_of,
    spread,
    spread_options,
    timeout_option,
    tolerance_option,
    typed,
)

file_type = click.Path(path_type=Path, dir_okay=False, writable=True)


@command("quantdiff advise float.tflite int8.tflite --data data.npz --until 'top1_agreement>=0.999'")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@click.option("--until", multiple=True, metavar="EXPR", help="What must hold, such as 'top1_agreement>=0.999'.")
@metric_option
@click.option("--recipe", callback=output_file, type=file_type, help="Write the set as a recipe for litert-quantizer.")
@click.option("--denylist", callback=output_file, type=file_type, help="Or as TensorFlow's denylist.")
@click.option(
    "--out",
    callback=output_file,
    type=file_type,
    help="Write the file with mended biases and ranges; as FILE.h5 the trained model, as the file has it.",
)
@html_option
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def advise(
    as_json: bool, reference: Path, candidate: Path, until: tuple[str, ...], html: Path | None, **options: Any
) -> int:
    """Rank what to keep finer by what it buys; find what is enough.

    The status is 0 where it is enough, or holds already; 1 where it cannot be, or no mended file is better.

    REFERENCE is the model that was trained, or a float .tflite; CANDIDATE the .tflite made from it.
    """
    from quantdiff.compare.conditions import parse

    conditions = tuple(parse(text, "--until", own=options["metric"] is not None) for text in until)
    files = {name: options.pop(name) for name in ("recipe", "denylist", "out")}
    if not conditions and (files["recipe"] or files["denylist"]):
        raise click.UsageError("--recipe and --denylist want --until: what is the set to be enough for?")
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar

    settings = settings_of(options)
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on)
        found = api.advise(reference, candidate, data, api.Wanted(conditions, **files), settings, progress)
    if html is not None:
        from quantdiff.report.html.searched import advice_page

        advice_page(found, typed()).save(html)
    _show(found, as_json)
    return INTERRUPTED if not found.complete else 0 if _enough(found, files["out"]) else 1


def _enough(found: Any, out: Path | None) -> bool:
    """Whether what was asked holds, as it is or in a mended file that was worth writing."""
    if found.until and (not found.met or not found.chosen.choices):
        return bool(found.met)
    return out is None or "out" in found.files


def _show(found: Any, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.advice import advice_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(advice_document(found)))
        return
    from quantdiff.report.text.advice import print_advice
    from quantdiff.report.text.terminal import Terminal

    print_advice(found, Terminal())
