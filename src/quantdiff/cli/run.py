"""``quantdiff run``: the whole experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import TROUBLE, command, show_outcome
from quantdiff.cli.options import (
    html_option,
    runtime_option,
    settings_of,
    timeout_option,
    tolerance_option,
    typed,
    whole,
)


@command("quantdiff run --model CNN --quantize --runtime all --html run.html")
@click.option("--model", default="dense4", show_default=True, help="CNN, dense1, dense2, dense3, …")
@click.option(
    "--quantize", is_flag=True, help="int8 input and output too; else the converter's defaults, float at both ends."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=3, show_default=True)
@click.option("--no-bias", is_flag=True, help="Dense layers without biases.")
@click.option("--epochs", type=whole(1), default=1, show_default=True)
@click.option("--data", help="mnist, mnist-small or an .npz; default mnist where Keras has it, else mnist-small.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for models, data and results.")
@html_option
@runtime_option
@tolerance_option
@timeout_option
def run(as_json: bool, no_bias: bool, data: str | None, out: Path | None, html: Path | None, **options: Any) -> int:
    """Train a digit classifier, convert it, and print what differs."""
    from quantdiff.experiment.datasets import default_name
    from quantdiff.experiment.trial import Trial

    settings = settings_of(options)
    trial = Trial(bias=not no_bias, data=data or default_name(), **options)  # refuses before anything is said
    if data is None and trial.data == "mnist-small":
        click.echo("data: mnist-small (6,000 + 2,000 digits of MNIST); --data mnist takes the full set", err=True)
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar

    out = out or Path("runs") / trial.name
    with progress_bar() as progress:
        outcome = api.run(trial, out, settings, progress)
        if html is not None:
            api.run_page(out, progress, typed()).save(html)
    show_outcome(outcome, "json" if as_json else "text")
    return TROUBLE if outcome.failures else 0
