"""``quantdiff explain``: which mechanism makes which output differ."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import TROUBLE, command, complain
from quantdiff.cli.options import (
    data_option,
    given_parts,
    html_option,
    layout_option,
    reference_options,
    runtime_option,
    settings_of,
    spread,
    spread_options,
    timeout_option,
    tolerance_option,
    typed,
    whole,
)


@command("quantdiff explain qat.h5 model.tflite --data data.npz --runtime tflm")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@reference_options
@layout_option
@click.option("--sample", type=whole(0), help="With --output: list what makes one difference.")
@click.option("--output", type=whole(0), help="Which of the sample's outputs, counted from 0.")
@html_option
@runtime_option
@tolerance_option
@timeout_option
def explain(as_json: bool, reference: Path, candidate: Path, html: Path | None, **options: Any) -> int:
    """Say which operators and mechanisms make the error of the outputs.

    REFERENCE is the model that was trained, or a float .tflite; or the same .tflite to tell two runtimes apart: then
    the first --runtime is explained against the others.
    """
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.run.inputs import made_up_kind

    sample, output = options.pop("sample"), options.pop("output")
    if (sample is None) != (output is None):
        raise click.UsageError("--sample and --output belong together")
    single = None if sample is None else (sample, output)
    settings = settings_of(options)
    made = made_up_kind(str(options["data"][0]))
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on)
        asked = api.Asked(_hear if as_json else partial(_expect, on_made=f" on {made} data" if made else ""), single)
        if html is None:
            answer = api.explain(reference, candidate, data, settings, progress, asked)
        else:
            files = reference, candidate, data
            answer, page = api.explain_with_page(files, settings, progress, typed(), asked)
            page.save(html)
    _show(answer, as_json)
    for failure in answer.failures:
        complain(failure.error)
    return TROUBLE if answer.failures else 0


def _hear(expected: Any) -> None:
    """What is expected stands in the document."""
    del expected


def _expect(expected: Any, on_made: str) -> None:
    """Before the runtime runs."""
    from quantdiff.report.text.explanation import print_expectation
    from quantdiff.report.text.terminal import Terminal

    print_expectation(expected, Terminal(), on_made)


def _show(answer: Any, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.explanation import explanations_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(explanations_document(answer.found, answer.failures)))
        return
    from quantdiff.report.text.explanation import print_explanation
    from quantdiff.report.text.terminal import Terminal

    for each in answer.found:
        print_explanation(each, Terminal())
