"""What a command goes through: what it reads and writes, errors as one line, its status, and an end before its time."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.telling import FOR_CI, complain, told
from quantdiff.files import destination, is_tflite, split_part
from quantdiff.run.runtimes import ALL, RUNTIMES, chosen, may_be_one

if TYPE_CHECKING:
    from concurrent.futures import Executor

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
                status = told(error, function.__name__, options.get("form"))
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantdiff")
def main() -> None:
    """Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""


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


def whole(least: int) -> click.IntRange:
    """A whole number from ``least``, as large as anything that can be counted here."""
    return click.IntRange(least, 2**31 - 1)


@contextmanager
def spread(options: dict[str, Any]) -> Iterator[Executor | None]:
    """What works on parts of the data, taken out of ``options``; None: this process alone."""
    jobs, dask = options.pop("jobs"), options.pop("dask")
    if jobs and dask:
        raise click.UsageError("--jobs and --dask: give one of them; a cluster has workers of its own")
    if dask:
        from quantdiff.experiment.workers import cluster

        with cluster(dask) as on:
            yield on
    elif jobs:
        from quantdiff.experiment.workers import Workers

        with Workers(jobs) as on:
            yield on
    else:
        yield None


def given_parts(options: dict[str, Any], candidate: Path, on: Executor | None, *, always: bool = False) -> Any:
    """The data, taken out of ``options``: a batch, or ``InParts`` where they come or go in parts; None without any."""
    from quantdiff.run.data_in_parts import InParts
    from quantdiff.run.inputs import holds_parts

    data = options["data"]
    several = len(data) > 1 or (len(data) == 1 and holds_parts(data[0], options["images"], options["audio"]))
    if not (several or on is not None or always):
        return given_data(options, candidate)
    return InParts(options.pop("data"), on, candidate, options.pop("images"), options.pop("audio"))


def given_data(options: dict[str, Any], candidate: Path) -> Any:
    """The data set, taken out of ``options`` with how its images or sounds are prepared."""
    from quantdiff.run.inputs import load_data

    data, images, audio = (options.pop(name) for name in ("data", "images", "audio"))
    if isinstance(data, tuple):
        data = data[0] if data else None
    return None if data is None else load_data(data, candidate, images, audio)


class Layout(click.ParamType[tuple[str, str]]):
    """``reference=NCHW``: which model has its images in which order of axes."""

    name = "layout"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, str]:
        """The side and the layout."""
        side, _, layout = str(value).partition("=")
        if side not in ("reference", "candidate") or layout not in ("NCHW", "NHWC"):
            self.fail(f"{value!r}: give reference or candidate, and NCHW or NHWC: reference=NCHW", param, context)
        return side, layout


def output_file(_: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Where a file can be written, which is known before hours of work."""
    try:
        return path and destination(path) and path
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror}); choose another name"
        raise click.BadParameter(reason, param=option) from error


FORMS = ("text", "json", *FOR_CI)


def one_form(context: click.Context, _: click.Parameter, form: str | None) -> str:
    """The form asked for; ``--json`` is short for one of them."""
    if not context.params.pop("as_json"):
        return form or "text"
    if form not in (None, "json"):
        raise click.BadParameter(f"--json and --format {form} are two forms; give one")
    return "json"


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["quantdiff", *sys.argv[1:]])


def settings_of(options: dict[str, Any]) -> Any:
    """The options that say how to compare, taken out of ``options``."""
    from quantdiff.api import engines

    runtimes = chosen(options.pop("runtimes") or ("xnnpack",))
    names = "tolerance", "timeout", "allow_lambda", "custom_objects", "layouts", "channels", "metric"
    return engines.Settings(runtimes, **{name: options.pop(name) for name in names if name in options})
