"""What all commands share: ``--json``, ``--debug``, errors as one line, and the options about runtimes."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from quantdiff.errors import QuantdiffError

RUNTIMES = ("xnnpack", "builtin", "reference", "tflm", "all")
TROUBLE = 2
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT

Handler = Callable[..., int]


def command(function: Handler) -> click.Command:
    """A command with ``--json`` and ``--debug``; errors become one line and exit status 2."""

    @functools.wraps(function)
    def guarded(debug: bool, **options: Any) -> None:
        try:
            status = function(**options)
        except QuantdiffError as error:
            if debug:
                raise
            status = complain(str(error))
        except KeyboardInterrupt:
            complain("interrupted; nothing half-written remains")
            status = INTERRUPTED
        except Exception as error:
            if debug:
                raise
            status = complain(f"unexpected {type(error).__name__}: {error} (add --debug for the whole story)")
        sys.exit(status)

    decorated = click.option("--debug", is_flag=True, help="Show tracebacks.")(guarded)
    decorated = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(decorated)
    return main.command()(decorated)


def complain(message: str) -> int:
    """Print one clean line on standard error and return the status for trouble."""
    from quantdiff.report.plain import printable

    click.echo("error: " + printable(" ".join(message.split())), err=True)
    return TROUBLE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantdiff")
def main() -> None:
    """Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""


runtime_option = click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=click.Choice(RUNTIMES),
    help="May be given several times; default xnnpack.",
)
tolerance_option = click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.01, show_default=True, help="How close is close, absolute."
)
timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
    help="Seconds that a runtime may be silent.",
)  # fmt: skip

html_option = click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write everything to this file: one page that needs no network.",
)  # fmt: skip


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["quantdiff", *sys.argv[1:]])


def settings_of(options: dict[str, Any]) -> Any:
    """The options that say how to compare, taken out of ``options``."""
    from quantdiff import api
    from quantdiff.run.tflite import installed

    runtimes = options.pop("runtimes") or ("xnnpack",)
    if "all" in runtimes:
        runtimes = installed()
    chosen = {name: options.pop(name) for name in ("tolerance", "timeout", "allow_lambda") if name in options}
    return api.Settings(tuple(dict.fromkeys(runtimes)), **chosen)


def show_outcome(outcome: Any, as_json: bool) -> None:
    """Print what ``run`` and ``diff`` found, and the runtimes that failed."""
    if as_json:
        from quantdiff.report.json import outcome_document
        from quantdiff.report.plain import json_text

        click.echo(json_text(outcome_document(outcome)))
    else:
        from rich.console import Console

        from quantdiff.report.text import print_outcome

        print_outcome(outcome, Console())
    for failure in outcome.failures:
        complain(failure.error)
