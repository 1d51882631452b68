"""What all commands share: ``--json``, ``--debug``, errors as one line, and the options about runtimes."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from inspect import signature
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.endings import INTERRUPTED, status_of, tidy_endings
from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.files import is_tflite, split_part

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
    "Data": ("--data", "--images", "--audio"),
    "Models": ("--signature", "--custom-objects", "--allow-lambda", "--layout"),
    "Runtimes": ("--runtime", "--tolerance", "--timeout"),
    "Output": ("--out", "--html", "--format", "--json", "--debug", "--version", "--help"),
}
"""Options that many commands have, by what they are about; those of a command alone come first."""
EXAMPLE_AT_MOST = 72  # characters of a line, which click indents, and ends with a backslash
SEVERAL = ("--data", "--runtime")
WRITTEN = ("out", "html", "inputs", "probe", "recipe", "denylist")
"""Options that name what a command writes; every other path is read."""


class Command(click.Command):
    """A command whose help lists its options in groups."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As click, which would drop all but the last of what is given twice; some commands take several of these."""
        given = self.make_parser(context).parse_args([*args])[2]
        for option in given:
            if option.opts[0] in SEVERAL and not option.multiple and given.count(option) > 1:
                raise click.UsageError(f"{option.opts[0]}: this command takes one", context)
        return super().parse_args(context, args)

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
                spare_what_is_read({f"--{n}": path for n in WRITTEN if (path := options.get(n)) is not None}, options)
                with tidy_endings() as ends, _begun(options):
                    status = function(**options)
                if status == INTERRUPTED and ends:
                    status = status_of(ends[-1])
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
        shown = f"\b\nExample:\n{_on_lines(example)}"
        return main.command(cls=Command, short_help=in_the_list, epilog=shown)(decorated)

    return decorate


def _on_lines(example: str) -> str:
    """A command as a shell takes it, on lines that a help of 80 columns shows whole."""
    lines = ["  "]
    for part in re.split(r" (?=--)", example):
        if len(lines[-1]) + len(part) > EXAMPLE_AT_MOST:
            lines[-1] += "\\"
            lines.append("      ")
        lines[-1] += part + " "
    return "\n".join(lines).rstrip()


def spare_what_is_read(written: Mapping[str, Path], options: Mapping[str, Any]) -> None:
    """Complain where a command would write over a file that it reads, or twice over one; ``written`` by option."""
    names = {name: value for name, value in options.items() if name not in WRITTEN}
    read = {os.path.realpath(path) for path in _files_of((*names.values(),))}
    taken = dict[str, str]()
    for option, path in written.items():
        place = os.path.realpath(path)
        if place in read:
            raise click.UsageError(f"{option}: {path} is read by this command, and would be lost; choose another name")
        if place in taken:
            raise click.UsageError(f"{option}: {path} is what {taken[place]} writes; choose another name")
        taken[place] = option


def _files_of(value: Any) -> Iterator[Path]:
    """Every path in the values of options, and the files of runtimes, ``recorded:DUMP``."""
    if isinstance(value, tuple):
        for each in value:
            yield from _files_of(each)
    elif isinstance(value, Path):
        yield split_part(value)[0]
    elif isinstance(value, str) and ":" in value:
        yield Path(value.partition(":")[2])


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
    from quantdiff.report.text.terminal import printable

    with contextlib.suppress(OSError):  # nobody listens: the status says it
        click.echo("error: " + printable(" ".join(message.split())), err=True)
    return TROUBLE


def say(sentences: str) -> None:
    """Print them on standard output; on a terminal lines break between words."""
    from quantdiff.report.text.terminal import Terminal

    Terminal().print(sentences, soft_wrap=True)


def refusal(error: OSError) -> str:
    """What the system refuses, and how to go on."""
    cure = CURES.get(error.errno or 0, "see to that and try again")
    return f"{error.filename or 'the system refuses'}: {error.strerror or reason_of(error)}; {cure}"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantdiff")
def main() -> None:
    """Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""


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


def show_outcome(outcome: Any, form: str, *, unmatched: bool = False) -> None:
    """Print what ``run`` and ``diff`` found as text or JSON, and the runtimes that failed."""
    if form == "json":
        from quantdiff.report.json.outcome import outcome_document
        from quantdiff.report.text.terminal import json_text

        click.echo(json_text(outcome_document(outcome)))
    if form == "text":
        from quantdiff.report.text.outcome import print_outcome
        from quantdiff.report.text.terminal import Terminal

        print_outcome(outcome, Terminal(), unmatched=unmatched)
    for failure in outcome.failures:
        complain(failure.error)
