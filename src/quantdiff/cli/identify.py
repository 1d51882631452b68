"""``quantdiff identify``: which rule does a device obey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command
from quantdiff.cli.options import (
    RuntimeName,
    data_option,
    given_data,
    output_file,
    tell_what_is_simulated,
    timeout_option,
    whole,
)


@command("quantdiff identify model.tflite --runtime tflm --out device.toml")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True, help="The device.")
@data_option(required=False)
@click.option("--samples", type=whole(1), help="Of the data; random ones: up to 1,024, fewer for a large model.")
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of the random input.")
@click.option("--probe", metavar="OUT.npz", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Search inputs that tell apart what is undecided, and write them.")  # fmt: skip
@click.option("--out", metavar="PROFILE.toml", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Write the rules as a profile, for --runtime profile:PROFILE.toml.")  # fmt: skip
@timeout_option
def identify(as_json: bool, model: Path, probe: Path | None, out: Path | None, **options: Any) -> int:
    """Name the rule by which a device rounds, for each kind of operator.

    It goes by the device's own inputs and outputs. Every rule that fits all elements is named; the others come with
    the elements that contradict them.
    """
    from quantdiff.identifying.load import load_and_identify, load_and_probe
    from quantdiff.report.profile import save_probe, save_profile

    tell_what_is_simulated(options["runtime"])
    data = given_data(options, model)
    found = load_and_identify(model, data=data, **options)
    made = None if probe is None else load_and_probe(model, found, options["seed"])
    if out is not None:
        save_profile(found, out)
    if probe is not None and made is not None:
        save_probe(made, probe)
    if as_json:
        from quantdiff.report.json.identification import identification_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(identification_document(found, made)))
    else:
        from quantdiff.report.text.identification import print_identification
        from quantdiff.report.text.terminal import Terminal

        print_identification(found, Terminal(), made, out, probe)
    return 0
