"""``quantdiff explain``: which mechanism makes which output differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import (
    TROUBLE,
    command,
    complain,
    html_option,
    reference_options,
    runtime_option,
    settings_of,
    timeout_option,
    tolerance_option,
    typed,
)


@command
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help=".npz (x) or .npy.")
@reference_options
@html_option
@runtime_option
@tolerance_option
@timeout_option
def explain(as_json: bool, reference: Path, candidate: Path, data: Path, html: Path | None, **options: Any) -> int:
    """Account for every output that differs, one mechanism at a time.

    REFERENCE is the trained model, or the same .tflite to tell two runtimes apart: the first --runtime is explained
    against the others.
    """
    from quantdiff import api
    from quantdiff.report.text.progress import progress_bar

    settings = settings_of(options)
    with progress_bar() as progress:
        tell = (lambda expected: None) if as_json else _expect
        if html is None:
            answer = api.explain(reference, candidate, data, settings, progress, tell)
        else:
            files = reference, candidate, data
            answer, page = api.explain_with_page(files, settings, progress, typed(), tell)
            page.save(html)
    _show(answer, as_json)
    for failure in answer.failures:
        complain(failure.error)
    return TROUBLE if answer.failures else 0


def _expect(expected: Any) -> None:
    """Before the runtime runs."""
    from rich.console import Console

    from quantdiff.report.text.explanation import print_expectation

    print_expectation(expected, Console())


def _show(answer: Any, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.explanation import explanations_document
        from quantdiff.report.plain import json_text

        click.echo(json_text(explanations_document(answer.found, answer.failures)))
        return
    from rich.console import Console

    from quantdiff.report.text.explanation import print_explanation

    for each in answer.found:
        print_explanation(each, Console())
