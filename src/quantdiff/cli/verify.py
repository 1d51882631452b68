"""``quantdiff verify``: the simulator against real runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.ci import FOR_CI, show_for_ci
from quantdiff.cli.command import TROUBLE, command, complain
from quantdiff.cli.options import (
    data_option,
    formats,
    given_parts,
    runtime_option,
    spread,
    spread_options,
    timeout_option,
    whole,
)


@command("quantdiff verify model.tflite --runtime all")
@click.argument("model", type=click.Path(path_type=Path))
@data_option(parts=True, required=False)
@spread_options
@click.option(
    "--samples",
    type=whole(1),
    help="Default: all of several files, else as many as fit into memory at once, 64 of random ones.",
)
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of the random input.")
@runtime_option
@timeout_option
@formats
def verify(form: str, model: Path, runtimes: tuple[str, ...], timeout: float, **options: Any) -> int:
    """Hold the simulator against real runtimes, operator by operator.

    The status is 0 where all is exact or within proven intervals, 1 where something differs or is missing, 2 where a
    runtime crashes or cannot run the model.
    """
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.report.text.verification import print_verification, verification_document

    drawn = api.Drawn(options.pop("samples"), options.pop("seed"))
    settings = api.Settings(runtimes or ("xnnpack",), timeout=timeout)
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, model, on, always=drawn.samples is not None)
        found = api.verify(model, data, settings, drawn, progress)
    if form in FOR_CI:
        from quantdiff.report.ci.verify import verify_checked

        show_for_ci(verify_checked(found.verdicts, found.made_by), form)
    elif form == "json":
        from quantdiff.report.json.text import json_text

        click.echo(json_text(verification_document(found)))
    else:
        from quantdiff.report.text.terminal import Terminal

        print_verification(found, Terminal())
    status = {verdict.status for verdict in found.verdicts.values()}
    failed = [verdict for verdict in found.verdicts.values() if verdict.status in ("crashed", "unavailable")]
    for verdict in failed:
        complain(verdict.why)
    return TROUBLE if failed else int(not status <= {"exact", "within"})
