"""``quantdiff diff``: two models on the same data."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.command import FOR_CI, TROUBLE, command, complain, formats, show_for_ci, show_outcome
from quantdiff.cli.options import (
    data_option,
    html_option,
    layout_option,
    metric_option,
    reference_options,
    runtime_option,
    settings_of,
    timeout_option,
    tolerance_option,
    typed,
    unmatched_option,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor


@command("quantdiff diff qat.h5 model.tflite --data data.npz --layers --fail-on 'max_steps>1'")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@click.option("--dask", metavar="ADDRESS", help="Send the parts to this scheduler: tcp://host:8786.")
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
def diff(reference: Path, candidate: Path, data: tuple[Path, ...], fail_on: tuple[str, ...], **options: Any) -> int:
    """Compare two models on the same data.

    The status is 0 where they are the same, 1 where they differ, 2 where there was trouble.
    """
    from quantdiff.compare.conditions import judge, parse, reasons

    conditions = tuple(parse(text, own=options["metric"] is not None) for text in fail_on)
    from quantdiff import api
    from quantdiff.report.text.progress import progress_bar
    from quantdiff.run.data_sources import holds_parts, load_data

    names = "form", "layers", "unmatched", "dask", "html"
    form, layers, unmatched, dask, html = (options.pop(name) for name in names)
    settings = settings_of(options)
    parts = bool(dask) or len(data) > 1 or holds_parts(data[0])
    if parts and layers:
        return complain("--layers takes one data file; give it without --dask")
    if not layers and any(condition.layer for condition in conditions):
        return complain("--fail-on METRIC@LAYER asks for layers; add --layers")
    images = options.pop("images")
    with progress_bar() as progress, _executor(dask) as on:
        if parts:
            outcome = api.diff_shards(reference, candidate, data, settings, progress, on)
            if html is not None:
                api.diff_page(outcome, settings, typed()).save(html)
        else:
            batch = load_data(data[0], candidate, images)
            if html is None:
                outcome = api.diff(reference, candidate, batch, settings, progress, layers=layers)
            else:
                outcome, page = api.diff_with_page(reference, candidate, batch, settings, progress, typed())
                page.save(html)
    # Every condition is asked, so that none hides that another one cannot be answered.
    judged = [(c, judge(c, conditions, outcome.layers)) for c in outcome.comparisons]
    different = [(c, reason) for c, judgements in judged for reason in reasons(judgements)]
    if form in FOR_CI:
        from quantdiff.report.ci.diff import diff_checked

        show_for_ci(diff_checked(outcome, [each for _, judgements in judged for each in judgements]), form)
    show_outcome(outcome if layers else replace(outcome, layers=()), form, unmatched=unmatched)
    for comparison, reason in different:
        click.echo(f"different: {comparison.reference} vs {comparison.candidate}: {reason}", err=True)
    return TROUBLE if outcome.failures else 1 if different else 0


def _executor(dask: str | None) -> AbstractContextManager[Executor | None]:
    if not dask:
        return nullcontext()
    from quantdiff.experiment.cluster import cluster

    return cluster(dask)
