"""The options that several commands have, and the types of their values."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.ci import FOR_CI
from quantdiff.cli.command import Handler
from quantdiff.files import destination
from quantdiff.run.runtimes import ALL, RUNTIMES, SILENCE_AT_MOST, chosen, may_be_one, note_of

if TYPE_CHECKING:
    from concurrent.futures import Executor


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
    """``--data`` (with ``parts`` several), ``--images``, ``--audio``; the handler takes them by these names."""
    forms = ".npz (x, labels y), .npy, .csv, FILE.py:function, a folder of images or sounds, random[:N], smooth[:N]"
    several = "; parts of a data set: several times, or their folder" if parts else ""

    def decorated(function: Handler) -> Handler:
        function = click.option(
            "--audio", metavar="STEPS", help="How sounds are prepared: 'mono length=16000 scale=32768'."
        )(function)
        function = click.option(
            "--images", metavar="STEPS", help="How images are prepared: 'resize=224x224 center-crop scale=1/255'."
        )(function)
        return click.option(
            "--data", required=required, multiple=parts, type=click.Path(path_type=Path), help=forms + several + "."
        )(function)

    return decorated


def spread_options(function: Handler) -> Handler:
    """``--jobs`` and ``--dask``; the handler takes ``jobs`` and ``dask``."""
    function = click.option("--dask", metavar="ADDRESS", help="Send the parts to this scheduler: tcp://host:8786.")(
        function
    )
    return click.option("--jobs", type=whole(1), help="Worker processes that share the data.")(function)


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


FORMS = ("text", "json", *FOR_CI)


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


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["quantdiff", *sys.argv[1:]])


def settings_of(options: dict[str, Any]) -> Any:
    """The options that say how to compare, taken out of ``options``."""
    from quantdiff import api

    runtimes = chosen(options.pop("runtimes") or ("xnnpack",))
    names = "tolerance", "timeout", "allow_lambda", "custom_objects", "layouts", "channels", "metric"
    return api.Settings(runtimes, **{name: options.pop(name) for name in names if name in options})
