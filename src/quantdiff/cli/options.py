"""The options that several commands have, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from quantdiff.cli.command import FORMS, Handler, Layout, Number, RuntimeName, one_form, output_file, whole
from quantdiff.run.runtimes import ALL, SILENCE_AT_MOST

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


html_option = click.option(
    "--html", callback=output_file, type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write everything to this file: one page that needs no network.",
)  # fmt: skip


def formats(function: Handler) -> Handler:
    """Give a command ``--format``; its handler takes ``form`` in place of ``as_json``."""
    option = click.option(
        "--format", "form", type=click.Choice(FORMS), callback=one_form,
        help="Default text. junit: XML for GitLab, Jenkins and others; github: annotations and a step summary.",
    )  # fmt: skip
    return option(function)
