"""``quantdiff record``: tensors of a runtime, for another place or time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command, say
from quantdiff.cli.options import (
    RuntimeName,
    data_option,
    given_data,
    output_file,
    tell_what_is_simulated,
    timeout_option,
)


@command("quantdiff record model.tflite --data data.npz --runtime tflm --out device.npz")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@click.option(
    "--out",
    required=True,
    callback=output_file,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .npz to write.",
)
@click.option("--every-tensor", is_flag=True, help="Inner tensors too, not inputs and outputs alone.")
@timeout_option
def record(as_json: bool, model: Path, out: Path, runtime: str, timeout: float, **options: Any) -> int:
    """Record what a runtime gives, for another machine.

    There --runtime recorded:OUT takes it again.
    """
    from quantdiff import api
    from quantdiff.report.text.terminal import prepared_data

    tell_what_is_simulated(runtime)
    data = given_data(options, model)
    found = api.record(model, data, out, runtime, timeout, every_tensor=options["every_tensor"])
    if as_json:
        from quantdiff.report.json.text import json_text

        asked = {"command": "record", "out": str(out), "data": data.source}
        click.echo(json_text({"schema": "quantdiff/1", **asked, **asdict(found)}))
    else:
        of = prepared_data(data.source)
        where = f" on {found.machine}" if found.machine else ""
        say(f"{out}: {len(found.tensors)} tensors of {found.samples:,} samples{of}, {found.runtime}{where}")
    return 0
