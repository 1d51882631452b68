"""What a command goes through: what it reads and writes, errors as one line, its status, and an end before its time."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from types import FrameType
from typing import Any

import click

from quantdiff.cli.ci import tell_ci
from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.files import is_tflite, split_part

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


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: as Ctrl-C, so that every block is left and nothing half-written remains."""


def status_of(end: KeyboardInterrupt) -> int:
    """The exit status as shells have it: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)


INTERRUPTED = status_of(KeyboardInterrupt())
"""What a command returns that was broken off and has shown the best so far."""


@contextmanager
def tidy_endings() -> Iterator[list[KeyboardInterrupt]]:
    """End children, and leave every block, when a signal says that this is the end; temporary files go with it.

    Gives the ends that came, for commands that go on to show what they have.
    """
    from quantdiff.files import own_temporary_files

    ends = list[KeyboardInterrupt]()
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(_signals(ends))
        stack.enter_context(own_temporary_files())
        yield ends


@contextmanager
def _signals(ends: list[KeyboardInterrupt]) -> Iterator[None]:
    from quantdiff.run import process

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        process.end_all()
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # once is enough: it would break off what clears up
        ends.append(KeyboardInterrupt() if number == signal.SIGINT else Terminated())
        raise ends[-1]

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        process.begin_again()


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
    tell_ci(command, message, form)
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


def show_outcome(outcome: Any, form: str, *, unmatched: bool = False) -> None:
    """Print what ``run`` and ``diff`` found as text or JSON, and the runtimes that failed."""
    if form == "json":
        from quantdiff.report.json.outcome import outcome_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(outcome_document(outcome)))
    if form == "text":
        from quantdiff.report.text.outcome import print_outcome
        from quantdiff.report.text.terminal import Terminal

        print_outcome(outcome, Terminal(), unmatched=unmatched)
    for failure in outcome.failures:
        complain(failure.error)
