"""``quantdiff diff``: two models on the same data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.ci import FOR_CI, show_for_ci
from quantdiff.cli.command import TROUBLE, command, complain, show_outcome
from quantdiff.cli.options import (
    data_option,
    formats,
    given_parts,
    html_option,
    layout_option,
    metric_option,
    reference_options,
    runtime_option,
    settings_of,
    spread,
    spread_options,
    timeout_option,
    tolerance_option,
    typed,
    unmatched_option,
)


@command("quantdiff diff qat.h5 model.tflite --data data.npz --layers --fail-on 'max_steps>1'")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@click.option("--layers", is_flag=True, help="Layer by layer: where the difference begins, what each layer adds.")
@click.option("--channels", is_flag=True, help="Figures for each channel of an output, the worst first.")
@unmatched_option
@click.option(
    "--fail-on",
    multiple=True,
    metavar="EXPR",
    help="What counts as different: 'max_steps>1', of a layer 'max_steps@conv2d>1'.",
)
@metric_option
@reference_options
@layout_option
@html_option
@runtime_option
@tolerance_option
@timeout_option
@formats
def diff(reference: Path, candidate: Path, fail_on: tuple[str, ...], **options: Any) -> int:
    """Compare two models on the same data.

    The status is 0 where they are the same, 1 where they differ, 2 where there was trouble.
    """
    from quantdiff.compare.conditions import parse
    from quantdiff.compare.outcome import judge, reasons

    conditions = tuple(parse(text, own=options["metric"] is not None) for text in fail_on)
    from quantdiff import api
    from quantdiff.report.text.terminal import on_made_up, progress_bar

    form, layers, unmatched, html = (options.pop(name) for name in ("form", "layers", "unmatched", "html"))
    settings = settings_of(options)
    if not layers and any(condition.layer for condition in conditions):
        return complain("--fail-on METRIC@LAYER asks for layers; add --layers")
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on, always=layers and html is None)
        if html is None:
            outcome = api.diff(reference, candidate, data, settings, progress, layers=layers)
        else:
            outcome, page = api.diff_with_page(reference, candidate, data, settings, progress, typed())
            page.save(html)
    # Every condition is asked, so that none hides that another one cannot be answered.
    judged = [(c, judge(c, conditions, outcome.layers)) for c in outcome.comparisons]
    different = [(c, reason) for c, judgements in judged for reason in reasons(judgements)]
    if form in FOR_CI:
        from quantdiff.report.ci.diff import diff_checked

        show_for_ci(diff_checked(outcome, [each for _, judgements in judged for each in judgements]), form)
    show_outcome(outcome if layers else replace(outcome, layers=()), form, unmatched=unmatched)
    on_made = on_made_up(outcome.artifacts.get("data", ""))
    for comparison, reason in different:
        click.echo(f"different: {comparison.reference} vs {comparison.candidate}{on_made}: {reason}", err=True)
    return TROUBLE if outcome.failures else 1 if different else 0
