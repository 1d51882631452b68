"""What all commands share: ``--json``, ``--debug``, errors as one line, and the options about runtimes."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from inspect import signature
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.endings import status_of, tidy_endings
from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.files import destination, is_tflite
from quantdiff.run.runtimes import ALL, RUNTIMES, SILENCE_AT_MOST, chosen, may_be_one, note_of

FOR_CI = ("junit", "github")
FORMS = ("text", "json", *FOR_CI)
TROUBLE = 2
BROKEN_PIPE = 141  # as shells have it, too: the reader of our output is gone, as `head` is when it has seen enough
CURES = {
    errno.ENOSPC: "make room there",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "close other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EBADF: "open it, or redirect it",
}


class ReaderGone(Exception):
    """Whoever read standard output has closed it."""


Handler = Callable[..., int]


MODELS = {"reference", "candidate", "model", "models"}
GROUPS = {
    "Data": ("--data", "--images"),
    "Models": ("--signature", "--custom-objects", "--allow-lambda", "--layout"),
    "Runtimes": ("--runtime", "--tolerance", "--timeout"),
    "Output": ("--out", "--html", "--format", "--json", "--debug", "--version", "--help"),
}
"""Options that many commands have, by what they are about; those of a command alone come first."""


class Command(click.Command):
    """A command whose help lists its options in groups."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of this command alone, then those that others have, too."""
        titles = {option: title for title, options in GROUPS.items() for option in options}
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], **{title: [] for title in GROUPS}}
        for each in self.get_params(context):
            if isinstance(each, click.Option) and (record := each.get_help_record(context)) is not None:
                groups[titles.get(max(each.opts, key=len), "Options")].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def command(example: str) -> Callable[[Handler], click.Command]:
    """A command with ``--json`` and ``--debug``; errors become one line and status 2; ``example`` ends its help."""

    def decorate(function: Handler) -> click.Command:
        @functools.wraps(function)
        def guarded(debug: bool, **options: Any) -> None:
            try:
                with tidy_endings(), _begun(options):
                    status = function(**options)
            except KeyboardInterrupt as end:
                complain("interrupted; nothing half-written remains")
                status = status_of(end)
            except Exception as error:
                if debug and not isinstance(error, click.UsageError):
                    raise
                status = _trouble(error, function.__name__, options.get("form"))
            sys.exit(status)

        takes_models = MODELS & {*signature(function).parameters}
        decorated = _of_signature(guarded) if takes_models else guarded
        decorated = click.option("--debug", is_flag=True, help="Show tracebacks.")(decorated)
        decorated = click.option(
            "--json", "as_json", is_flag=True, is_eager=True, help="One JSON document on standard output."
        )(decorated)
        in_the_list = (function.__doc__ or "").strip().splitlines()[0]
        return main.command(cls=Command, short_help=in_the_list, epilog=f"\b\nExample:\n  {example}")(decorated)

    return decorate


def _of_signature(function: Callable[..., None]) -> Callable[..., None]:
    """``--signature``: each ``.tflite`` that the command names becomes that part of it."""

    def named(value: Any, part: str) -> Any:
        if isinstance(value, tuple):
            return tuple(named(each, part) for each in value)
        return Path(f"{value}#{part}") if isinstance(value, Path) and is_tflite(value) else value

    @functools.wraps(function)
    def with_signature(signature: str | None, **options: Any) -> None:
        if signature is not None:
            options |= {name: named(value, signature) for name, value in options.items() if name in MODELS}
        function(**options)

    return click.option("--signature", metavar="NAME", help="Which entry of the .tflite runs, as inspect lists them.")(
        with_signature
    )


def _trouble(error: Exception, command: str, form: str | None) -> int:
    """Say it in one line, to a CI server in its own form, too; the status."""
    if isinstance(error, ReaderGone):
        return BROKEN_PIPE
    message, hint = f"unexpected {type(error).__name__}: {error}", " (add --debug for the whole story)"
    if isinstance(error, click.UsageError):  # options that do not go together
        message, hint = error.message, ""
    if isinstance(error, OSError):
        message, hint = refusal(error), ""
    if isinstance(error, MemoryError):
        message, hint = f"{command}: not enough memory ({reason_of(error)}); use fewer samples or smaller models", ""
    if isinstance(error, QuantdiffError):
        message, hint = str(error), ""
    _tell_ci(command, message, form)
    return complain(message + hint)


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

    with contextlib.suppress(OSError):  # nobody listens: the status says it
        click.echo("error: " + printable(" ".join(message.split())), err=True)
    return TROUBLE


def refusal(error: OSError) -> str:
    """What the system refuses, and how to go on."""
    cure = CURES.get(error.errno or 0, "see to that and try again")
    return f"{error.filename or 'the system refuses'}: {error.strerror or reason_of(error)}; {cure}"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantdiff")
def main() -> None:
    """Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""


def tell_what_is_simulated(name: str) -> None:
    """On standard error, where a runtime is not here and its simulator stands for it."""
    if note := note_of(name):
        click.echo(note, err=True)


class RuntimeName(click.Choice[str]):
    """The name of a runtime as the registry has them when the option is read, or in their form; or one of ``more``."""

    def __init__(self, *more: str) -> None:
        super().__init__((*RUNTIMES, *more))
        self.more = more

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a complaint that lists them all; a place or a file in it is looked up when it is used."""
        self.choices = (*RUNTIMES, *self.more)
        if isinstance(value, str) and value not in (*self.choices, ALL) and may_be_one(value):
            return value
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number, which NaN is not, nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a complaint."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to compare with.", param, ctx)
        return number


class Seconds(click.ParamType[float]):
    """``30``, ``30s`` or ``2m``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or a complaint."""
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in ("s", "m") else (value, "s")
        try:
            seconds = float(number) * (60 if unit == "m" else 1)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= SILENCE_AT_MOST:
            self.fail(f"{value!r}: give a time such as 30s or 2m.", param, ctx)
        return seconds


def whole(least: int) -> click.IntRange:
    """A whole number from ``least``, as large as anything that can be counted here."""
    return click.IntRange(least, 2**31 - 1)


runtime_option = click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=RuntimeName(ALL),
    help="May be given several times; default xnnpack.",
)
tolerance_option = click.option(
    "--tolerance", type=Number(min=0), default=0.01, show_default=True, help="How close is close, absolute."
)
timeout_option = click.option(
    "--timeout", type=Number(min=0, min_open=True, max=SILENCE_AT_MOST), default=120.0, show_default=True,
    help="Seconds that a runtime may be silent.",
)  # fmt: skip


def data_option(*, parts: bool = False, required: bool = True) -> Callable[[Handler], Handler]:
    """``--data`` and ``--images``; the handler takes ``data`` (with ``parts`` several) and ``images``."""
    forms = ".npz (x, labels y), .npy, .csv, FILE.py:function, a folder of images or WAV files, random[:N], smooth[:N]"
    several = "; parts of a data set: several times, or their folder" if parts else ""

    def decorated(function: Handler) -> Handler:
        function = click.option(
            "--images", metavar="STEPS", help="How images are prepared: 'resize=224x224 center-crop scale=1/255'."
        )(function)
        return click.option(
            "--data", required=required, multiple=parts, type=click.Path(path_type=Path), help=forms + several + "."
        )(function)

    return decorated


def given_data(options: dict[str, Any], candidate: Path) -> Any:
    """The data set, taken out of ``options`` with how its images are prepared."""
    from quantdiff.run.data_sources import load_data

    data, images = options.pop("data"), options.pop("images")
    return None if data is None else load_data(data, candidate, images)


class Layout(click.ParamType[tuple[str, str]]):
    """``reference=NCHW``: which model has its images in which order of axes."""

    name = "layout"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, str]:
        """The side and the layout."""
        side, _, layout = str(value).partition("=")
        if side not in ("reference", "candidate") or layout not in ("NCHW", "NHWC"):
            self.fail(f"{value!r}: give reference or candidate, and NCHW or NHWC: reference=NCHW", param, context)
        return side, layout


def reference_options(function: Handler) -> Handler:
    """The options that say how a trained model may be opened."""
    function = click.option("--allow-lambda", is_flag=True, help="Let Lambda layers run; they hold code.")(function)
    return click.option(
        "--custom-objects", metavar="FILE.py", type=click.Path(path_type=Path, dir_okay=False),
        help="The classes that the trained model names; this file runs, nothing else does.",
    )(function)  # fmt: skip


layout_option = click.option(
    "--layout", "layouts", multiple=True, metavar="MODEL=LAYOUT", type=Layout(),
    help="reference=NCHW, candidate=NHWC: for images whose sizes and values do not tell.",
)  # fmt: skip


unmatched_option = click.option(
    "--unmatched", is_flag=True, help="List what has no partner in the other model, and why; else one line sums it up."
)
metric_option = click.option(
    "--metric", metavar="FILE.py:function",
    help="Your own: function(outputs by name, labels) gives a number or a dict of them; this file runs.",
)  # fmt: skip


def output_file(_: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Where a file can be written, which is known before hours of work."""
    try:
        return path and destination(path) and path
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror}); choose another name"
        raise click.BadParameter(reason, param=option) from error


html_option = click.option(
    "--html", callback=output_file, type=click.Path(path_type=Path, dir_okay=False, writable=True),
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

        with contextlib.suppress(QuantdiffError, OSError):  # the trouble may be that nothing can be written
            show_for_ci(trouble(command, message), form)


def settings_of(options: dict[str, Any]) -> Any:
    """The options that say how to compare, taken out of ``options``."""
    from quantdiff import api

    runtimes = chosen(options.pop("runtimes") or ("xnnpack",))
    names = "tolerance", "timeout", "allow_lambda", "custom_objects", "layouts", "channels", "metric"
    return api.Settings(runtimes, **{name: options.pop(name) for name in names if name in options})


def show_outcome(outcome: Any, form: str, *, unmatched: bool = False) -> None:
    """Print what ``run`` and ``diff`` found as text or JSON, and the runtimes that failed."""
    if form == "json":
        from quantdiff.report.json.outcome import outcome_document
        from quantdiff.report.plain import json_text

        click.echo(json_text(outcome_document(outcome)))
    if form == "text":
        from quantdiff.report.text.outcome import print_outcome
        from quantdiff.report.text.terminal import Terminal

        print_outcome(outcome, Terminal(), unmatched=unmatched)
    for failure in outcome.failures:
        complain(failure.error)
