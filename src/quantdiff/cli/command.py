"""What all commands share: ``--json``, ``--debug``, errors as one line, and the options about runtimes."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.endings import status_of, tidy_endings
from quantdiff.errors import QuantdiffError
from quantdiff.run.runtimes import ALL, RUNTIMES, chosen

FOR_CI = ("junit", "github")
FORMS = ("text", "json", *FOR_CI)
TROUBLE = 2

Handler = Callable[..., int]


def command(function: Handler) -> click.Command:
    """A command with ``--json`` and ``--debug``; errors become one line and exit status 2."""

    @functools.wraps(function)
    def guarded(debug: bool, **options: Any) -> None:
        try:
            with tidy_endings(), _begun(options):
                status = function(**options)
        except QuantdiffError as error:
            if debug:
                raise
            status = complain(str(error))
            _tell_ci(function.__name__, str(error), options.get("form"))
        except click.UsageError as error:  # options that do not go together
            status = complain(error.message)
        except KeyboardInterrupt as end:
            complain("interrupted; nothing half-written remains")
            status = status_of(end)
        except Exception as error:
            if debug:
                raise
            status = complain(f"unexpected {type(error).__name__}: {error} (add --debug for the whole story)")
            _tell_ci(function.__name__, f"unexpected {type(error).__name__}: {error}", options.get("form"))
        sys.exit(status)

    decorated = click.option("--debug", is_flag=True, help="Show tracebacks.")(guarded)
    decorated = click.option(
        "--json", "as_json", is_flag=True, is_eager=True, help="One JSON document on standard output."
    )(decorated)
    return main.command()(decorated)


def _begun(options: dict[str, Any]) -> AbstractContextManager[None]:
    """Importing a framework takes longest, so the children that do it start before anything else."""
    waiting: list[Any] = [options.get(name) for name in ("reference", "candidate", "models")]
    for value in waiting:  # grows while it is walked
        waiting += value if isinstance(value, tuple) else ()
    models = [value for value in waiting if isinstance(value, Path)]
    if not models:
        return contextlib.nullcontext()
    from quantdiff.references.formats import started_early

    return started_early(*models)


def complain(message: str) -> int:
    """Print one clean line on standard error and return the status for trouble."""
    from quantdiff.report.plain import printable

    click.echo("error: " + printable(" ".join(message.split())), err=True)
    return TROUBLE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantdiff")
def main() -> None:
    """Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""


class RuntimeName(click.Choice[str]):
    """The name of a runtime as the registry has them when the option is read; or one of ``more``."""

    def __init__(self, *more: str) -> None:
        super().__init__((*RUNTIMES, *more))
        self.more = more

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a complaint that lists them all."""
        self.choices = (*RUNTIMES, *self.more)
        return super().convert(value, param, ctx)


runtime_option = click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=RuntimeName(ALL),
    help="May be given several times; default xnnpack.",
)
tolerance_option = click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.01, show_default=True, help="How close is close, absolute."
)
timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
    help="Seconds that a runtime may be silent.",
)  # fmt: skip


def reference_options(function: Handler) -> Handler:
    """The options that say how a trained model may be opened."""
    function = click.option("--allow-lambda", is_flag=True, help="Let Lambda layers run; they hold code.")(function)
    return click.option(
        "--custom-objects", metavar="FILE.py", type=click.Path(path_type=Path, dir_okay=False),
        help="The classes that the trained model names; this file runs, nothing else does.",
    )(function)  # fmt: skip


html_option = click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write everything to this file: one page that needs no network.",
)  # fmt: skip


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["quantdiff", *sys.argv[1:]])


def one_form(context: click.Context, _: click.Parameter, form: str | None) -> str:
    """The form asked for; ``--json`` is short for one of them."""
    if not context.params.pop("as_json"):
        return form or "text"
    if form not in (None, "json"):
        raise click.BadParameter(f"--json and --format {form} are two forms; give one")
    return "json"


def formats(function: Handler) -> Handler:
    """Give a command ``--format``; its handler takes ``form`` in place of ``as_json``."""
    option = click.option(
        "--format", "form", type=click.Choice(FORMS), callback=one_form,
        help="Default text. junit: XML for GitLab, Jenkins and others; github: annotations and a step summary.",
    )  # fmt: skip
    return option(function)


def show_for_ci(checked: Any, form: str) -> None:
    """Print what was checked as ``junit`` or ``github`` wants it; a step summary goes where GitHub says."""
    if form == "junit":
        from quantdiff.report.ci.junit import junit_text

        click.echo(junit_text(checked))
        return
    from quantdiff.report.ci.github import add_summary, summary, workflow_commands

    for line in workflow_commands(checked):
        click.echo(line)
    if not add_summary(summary(checked)):
        click.echo("\n" + summary(checked))


def _tell_ci(command: str, message: str, form: str | None) -> None:
    """A CI server is told of trouble in its own form, too: an empty report looks like no tests at all."""
    if form in FOR_CI:
        from quantdiff.report.ci.case import trouble

        with contextlib.suppress(QuantdiffError):  # the trouble may be that the summary cannot be written
            show_for_ci(trouble(command, message), form)


def settings_of(options: dict[str, Any]) -> Any:
    """The options that say how to compare, taken out of ``options``."""
    from quantdiff import api

    runtimes = chosen(options.pop("runtimes") or ("xnnpack",))
    names = "tolerance", "timeout", "allow_lambda", "custom_objects"
    return api.Settings(runtimes, **{name: options.pop(name) for name in names if name in options})


def show_outcome(outcome: Any, form: str) -> None:
    """Print what ``run`` and ``diff`` found as text or JSON, and the runtimes that failed."""
    if form == "json":
        from quantdiff.report.json.outcome import outcome_document
        from quantdiff.report.plain import json_text

        click.echo(json_text(outcome_document(outcome)))
    if form == "text":
        from rich.console import Console

        from quantdiff.report.text.outcome import print_outcome

        print_outcome(outcome, Console())
    for failure in outcome.failures:
        complain(failure.error)
