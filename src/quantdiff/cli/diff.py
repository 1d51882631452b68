"""``quantdiff diff``: two models on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import (
    TROUBLE,
    command,
    runtime_option,
    settings_of,
    show_outcome,
    timeout_option,
    tolerance_option,
)


@command
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help=".npz (x, labels y) or .npy.")
@click.option("--layers", is_flag=True, help="Layer by layer: where the difference begins, what each layer adds.")
@click.option("--fail-on", multiple=True, metavar="EXPR", help="What counts as different, such as 'max_steps>1'.")
@click.option("--allow-lambda", is_flag=True, help="Let Lambda layers run; they hold code.")
@runtime_option
@tolerance_option
@timeout_option
def diff(reference: Path, candidate: Path, data: Path, fail_on: tuple[str, ...], **options: Any) -> int:
    """Compare two models on the same data: 0 same, 1 different, 2 trouble."""
    from quantdiff.compare.conditions import parse, reasons

    conditions = tuple(parse(text) for text in fail_on)
    from quantdiff import api
    from quantdiff.report.progress import progress_bar

    as_json, layers = options.pop("as_json"), options.pop("layers")
    with progress_bar() as progress:
        outcome = api.diff(reference, candidate, data, settings_of(options), progress, layers=layers)
    different = [(c, reason) for c in outcome.comparisons for reason in reasons(c, conditions)]
    show_outcome(outcome, as_json)
    for comparison, reason in different:
        click.echo(f"different: {comparison.reference} vs {comparison.candidate}: {reason}", err=True)
    return TROUBLE if outcome.failures else 1 if different else 0
