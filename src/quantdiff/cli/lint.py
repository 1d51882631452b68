"""``quantdiff lint``: known trouble, without data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.ci import FOR_CI, show_for_ci
from quantdiff.cli.command import command
from quantdiff.cli.options import formats, reference_options, timeout_option
from quantdiff.files import is_tflite

if TYPE_CHECKING:
    from quantdiff.linting.lint import LintReport


def with_reference(
    _: click.Context, __: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path | None, tuple[Path, ...]]:
    """``[REFERENCE] MODEL.tflite`` or several models: a reference or None, and the models."""
    if all(is_tflite(path) for path in paths) or len(paths) == 1:
        return None, paths
    if len(paths) > 2 or is_tflite(paths[0]):  # noqa: PLR2004 (reference and model)
        raise click.BadParameter("give .tflite files, or the Keras model that was trained and one .tflite file")
    return paths[0], paths[1:]


@command("quantdiff lint qat.h5 model.tflite --format github")
@click.argument(
    "models", nargs=-1, required=True, metavar="[REFERENCE] MODEL.tflite…", callback=with_reference,
    type=click.Path(path_type=Path),
)  # fmt: skip
@reference_options
@timeout_option
@formats
def lint(form: str, models: tuple[Path | None, tuple[Path, ...]], **options: Any) -> int:
    """Look for known trouble in .tflite files, without data.

    The status is 0 where there is none, 1 for warnings or errors, 2 where there was trouble.
    """
    from quantdiff.linting.lint import lint_model
    from quantdiff.load.tflite import load_tflite
    from quantdiff.references.formats import Options, open_references

    path, files = models
    loaded = [load_tflite(file) for file in files]
    reference = open_references(path, Options(**options))[0] if path else None
    reports = [lint_model(model, reference) for model in loaded]
    _show(reports, form)
    return 0 if all(report.is_clean for report in reports) else 1


def _show(reports: list[LintReport], form: str) -> None:
    if form in FOR_CI:
        from quantdiff.report.ci.lint import lint_checked

        show_for_ci(lint_checked(reports), form)
    elif form == "json":
        from quantdiff.report.json.lint import lint_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(lint_document(reports)))
    else:
        from quantdiff.report.text.lint import print_lint
        from quantdiff.report.text.terminal import Terminal

        for report in reports:
            print_lint(report, Terminal())
