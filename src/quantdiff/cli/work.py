"""``quantdiff work``: one output element on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command
from quantdiff.cli.options import RuntimeName, data_option, given_data, tell_what_is_simulated, timeout_option


def indices(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """``0,4,4,7`` as integers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}: give integers with commas between, such as 0,4,4,7", param=option
        ) from error


@command("quantdiff work model.tflite --data data.npz --op 3 --element 0,4,4,7")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--op", required=True, type=int, help="Index of the operator, as inspect lists it.")
@click.option(
    "--element", required=True, callback=indices, metavar="I,J,…", help="Sample, then the place in the output."
)
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def work(as_json: bool, model: Path, op: int, element: tuple[int, ...], **options: Any) -> int:
    """Write out the arithmetic of one output element.

    Its products, their sum, every rounding, and what each runtime gives.
    """
    from quantdiff.paper.work import Question, load_and_work

    tell_what_is_simulated(options["runtime"])
    asked = Question(op, element, options["runtime"])
    working = load_and_work(model, given_data(options, model), asked, options["timeout"])
    if as_json:
        from quantdiff.report.json.text import json_text
        from quantdiff.report.text.working import working_document

        click.echo(json_text(working_document(working)))
    else:
        from quantdiff.report.text.terminal import Terminal
        from quantdiff.report.text.working import working_text
        from quantdiff.report.text.wrapped import laid_out

        width = Terminal().width
        click.echo(laid_out(working_text(working, width), width))
    return 0
