"""``quantdiff params``: the quantization parameters of both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command, complain
from quantdiff.cli.options import (
    data_option,
    given_parts,
    layout_option,
    reference_options,
    runtime_option,
    settings_of,
    spread,
    spread_options,
    timeout_option,
    unmatched_option,
)


@command("quantdiff params qat.h5 model.tflite --data data.npz")
@click.argument("models", nargs=-1, metavar="[REFERENCE] MODEL.tflite", type=click.Path(path_type=Path))
@data_option(parts=True, required=False)
@spread_options
@click.option("--model", help="Train and calibrate this one instead: dense4, dense2, CNN, …")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="With --model.")
@click.option("--no-bias", is_flag=True, help="With --model: dense layers without biases.")
@click.option("--channels", is_flag=True, help="One line per channel in the table; --json always has them all.")
@unmatched_option
@reference_options
@layout_option
@runtime_option
@timeout_option
def params(as_json: bool, models: tuple[Path, ...], model: str | None, **options: Any) -> int:
    """Compare the quantization parameters of both models.

    Those of a QAT model with those of the .tflite made from it, or those of the file alone.
    """
    if len(models) != 0 if model else len(models) not in (1, 2):
        return complain("give MODEL.tflite, REFERENCE MODEL.tflite, or --model dense4 without files")
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar

    shown = {name: options.pop(name) for name in ("channels", "unmatched")}
    seed, bias, settings = options.pop("seed"), not options.pop("no_bias"), settings_of(options)
    if model:
        from quantdiff.experiment.datasets import default_name
        from quantdiff.experiment.trial import Trial

        data = (*options.pop("data"), default_name())[0]
        trial = Trial(model, seed, str(data), quantize=True, bias=bias)
        with progress_bar() as progress:
            answer = api.params_experiment(trial, settings, progress)
    else:
        with progress_bar() as progress, spread(options) as on:
            data = given_parts(options, models[-1], on)
            answer = api.params(models[0] if len(models) > 1 else None, models[-1], data, settings, progress)
    _show(answer, as_json, **shown)
    return 0


def _show(answer: Any, as_json: bool, **how: bool) -> None:
    from quantdiff.report.text.params import parameters_document, print_parameters

    if as_json:
        from quantdiff.report.json.text import json_text

        click.echo(json_text(parameters_document(answer)))
    else:
        from quantdiff.report.text.terminal import Terminal

        print_parameters(answer, Terminal(), **how)
