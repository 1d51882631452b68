"""The command line: a handler parses, calls one function, prints. Status as ``diff`` has it: 0 same, 1 different, 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from quantdiff.errors import QuantdiffError

RUNTIMES = ("xnnpack", "builtin", "reference", "tflm", "all")
TROUBLE = 2

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


@command
@click.option("--model", default="dense4", show_default=True, help="CNN, dense1, dense2, dense3, …")
@click.option(
    "--quantize", is_flag=True, help="int8 input and output too; else the converter's defaults, float at both ends."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=3, show_default=True)
@click.option("--no-bias", is_flag=True, help="Dense layers without biases.")
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--data", help="mnist, mnist-small or an .npz; default mnist where Keras has it, else mnist-small.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for models, data and results.")
@runtime_option
@tolerance_option
@timeout_option
def run(as_json: bool, no_bias: bool, data: str | None, out: Path | None, **options: Any) -> int:
    """Train a digit classifier, quantize it, convert it to TFLite, and print what differs."""
    from quantdiff.experiment.trial import Trial
    from quantdiff.load.datasets import default_name

    if data is None:
        data = default_name()
        if data == "mnist-small":
            click.echo("data: mnist-small (6,000 + 2,000 digits of MNIST); --data mnist takes the full set", err=True)
    settings = _settings(options)
    trial = Trial(bias=not no_bias, data=data, **options)
    from quantdiff import api
    from quantdiff.report.progress import progress_bar

    with progress_bar() as progress:
        outcome = api.run(trial, out or Path("runs") / trial.name, settings, progress)
    _show(outcome, as_json)
    return TROUBLE if outcome.failures else 0


@command
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help=".npz (x, labels y) or .npy.")
@click.option("--fail-on", multiple=True, metavar="EXPR", help="What counts as different, such as 'max_steps>1'.")
@click.option("--allow-lambda", is_flag=True, help="Let Lambda layers run; they hold code.")
@runtime_option
@tolerance_option
@timeout_option
def diff(as_json: bool, reference: Path, candidate: Path, data: Path, fail_on: tuple[str, ...], **options: Any) -> int:
    """Compare two models on the same data: 0 same, 1 different, 2 trouble."""
    from quantdiff.compare.conditions import parse, reasons

    conditions = tuple(parse(text) for text in fail_on)
    from quantdiff import api
    from quantdiff.report.progress import progress_bar

    with progress_bar() as progress:
        outcome = api.diff(reference, candidate, data, _settings(options), progress)
    different = [(c, reason) for c in outcome.comparisons for reason in reasons(c, conditions)]
    _show(outcome, as_json)
    for comparison, reason in different:
        click.echo(f"different: {comparison.reference} vs {comparison.candidate}: {reason}", err=True)
    return TROUBLE if outcome.failures else 1 if different else 0


def _settings(options: dict[str, Any]) -> Any:
    """Take the options that say how to compare out of ``options``."""
    from quantdiff import api
    from quantdiff.run.tflite import installed

    runtimes = options.pop("runtimes") or ("xnnpack",)
    if "all" in runtimes:
        runtimes = installed()
    chosen = {name: options.pop(name) for name in ("tolerance", "timeout", "allow_lambda") if name in options}
    return api.Settings(tuple(dict.fromkeys(runtimes)), **chosen)


def _show(outcome: Any, as_json: bool) -> None:
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


@command
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tensor", "pattern", metavar="PATTERN", help="Part of a name, a shell pattern, or an index.")
def inspect(as_json: bool, model: Path, pattern: str | None) -> int:
    """Show what a .tflite file holds: tensors, quantization as Netron shows it, operators."""
    from quantdiff.explain.inspection import inspect_model
    from quantdiff.load.tflite import load_tflite

    inspection = inspect_model(load_tflite(model), pattern)
    if as_json:
        from quantdiff.report.inspection_json import inspection_json
        from quantdiff.report.plain import json_text

        click.echo(json_text(inspection_json(inspection)))
    else:
        from quantdiff.report.inspection import inspection_text

        click.echo(inspection_text(inspection))
    return 0


@command
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help=".npz (x) or .npy; default seeded random input.")
@click.option("--samples", type=click.IntRange(min=1), help="Default 64, fewer for a large model.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random input.")
@runtime_option
@timeout_option
def verify(as_json: bool, model: Path, runtimes: tuple[str, ...], timeout: float, **options: Any) -> int:
    """Hold the simulator against real runtimes, operator by operator: 0 all exact, 1 something differs or is missing.

    2 where a runtime crashes or cannot run the model.
    """
    from quantdiff.compare.verification import load_and_verify
    from quantdiff.report.verification import print_verification, verification_document

    verdicts, made_by = load_and_verify(model, runtimes or ("xnnpack",), timeout, **options)
    if as_json:
        from quantdiff.report.plain import json_text

        click.echo(json_text(verification_document(verdicts, made_by)))
    else:
        from rich.console import Console

        print_verification(verdicts, made_by, Console())
    failed = any(verdict.status in ("crashed", "unavailable") for verdict in verdicts.values())
    return TROUBLE if failed else int(any(verdict.status != "exact" for verdict in verdicts.values()))
