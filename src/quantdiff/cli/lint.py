"""``quantdiff lint``: known trouble, without data."""

from __future__ import annotations

from pathlib import Path

import click

from quantdiff.cli.command import command


def one_or_two(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path | None, Path]:
    """``[REFERENCE] MODEL.tflite``: a reference or None, and the model."""
    if len(paths) > 2:  # noqa: PLR2004 (reference and model)
        raise click.BadParameter("give one model, or a reference and a model")
    reference = paths[0] if len(paths) > 1 else None
    if reference and reference.suffix == ".tflite":
        raise click.BadParameter("the reference is the Keras model that was trained; lint two .tflite files one by one")
    return reference, paths[-1]


@command
@click.argument(
    "models", nargs=-1, required=True, metavar="[REFERENCE] MODEL.tflite", callback=one_or_two,
    type=click.Path(path_type=Path),
)  # fmt: skip
@click.option("--allow-lambda", is_flag=True, help="Let Lambda layers run; they hold code.")
def lint(as_json: bool, models: tuple[Path | None, Path], allow_lambda: bool) -> int:
    """Look for known trouble in a .tflite file, without data: 0 none, 1 warnings or errors, 2 trouble."""
    from quantdiff.explaining.lint import lint_model
    from quantdiff.load.keras import load_keras
    from quantdiff.load.tflite import load_tflite

    reference, model = models
    loaded = load_tflite(model)
    report = lint_model(loaded, load_keras(reference, allow_lambda=allow_lambda) if reference else None)
    if as_json:
        from quantdiff.report.lint_json import lint_json
        from quantdiff.report.plain import json_text

        click.echo(json_text(lint_json(report)))
    else:
        from quantdiff.report.lint import print_lint

        print_lint(report)
    return 0 if report.is_clean else 1
