"""Commands on two models and the same data: diff, explain, params, overlay."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import command, given_parts, settings_of, spread, typed, whole
from quantdiff.cli.options import (
    data_option,
    formats,
    html_option,
    layout_option,
    metric_option,
    reference_options,
    runtime_option,
    spread_options,
    timeout_option,
    tolerance_option,
    unmatched_option,
)
from quantdiff.cli.telling import FOR_CI, TROUBLE, complain, say, show_for_ci


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
    from quantdiff.api import comparisons
    from quantdiff.report.text.terminal import on_made_up, progress_bar

    form, layers, unmatched, html = (options.pop(name) for name in ("form", "layers", "unmatched", "html"))
    settings = settings_of(options)
    if not layers and any(condition.layer for condition in conditions):
        return complain("--fail-on METRIC@LAYER asks for layers; add --layers")
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on, always=layers and html is None)
        if html is None:
            outcome = comparisons.diff(reference, candidate, data, settings, progress, layers=layers)
        else:
            from quantdiff.api import pages

            outcome, page = pages.diff_with_page(reference, candidate, data, settings, progress, typed())
            page.save(html)
    # Every condition is asked, so that none hides that another one cannot be answered.
    judged = [(c, judge(c, conditions, outcome.layers)) for c in outcome.comparisons]
    different = [(c, reason) for c, judgements in judged for reason in reasons(judgements)]
    if form in FOR_CI:
        from quantdiff.report.ci.case import diff_checked

        show_for_ci(diff_checked(outcome, [each for _, judgements in judged for each in judgements]), form)
    show_outcome(outcome if layers else replace(outcome, layers=()), form, unmatched=unmatched)
    on_made = on_made_up(outcome.artifacts.get("data", ""))
    for comparison, reason in different:
        click.echo(f"different: {comparison.reference} vs {comparison.candidate}{on_made}: {reason}", err=True)
    return TROUBLE if outcome.failures else 1 if different else 0


def show_outcome(outcome: Any, form: str, *, unmatched: bool = False) -> None:
    """Print what ``run`` and ``diff`` found as text or JSON, and the runtimes that failed."""
    if form == "json":
        from quantdiff.report.json.outcome import outcome_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(outcome_document(outcome)))
    if form == "text":
        from quantdiff.report.text.outcome import print_outcome
        from quantdiff.report.text.terminal import Terminal

        print_outcome(outcome, Terminal(), unmatched=unmatched)
    for failure in outcome.failures:
        complain(failure.error)


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
    from quantdiff.api import explanations
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
        asked = explanations.Asked(
            _hear if as_json else partial(_expect, on_made=f" on {made} data" if made else ""), single
        )
        if html is None:
            answer = explanations.explain(reference, candidate, data, settings, progress, asked)
        else:
            files = reference, candidate, data
            from quantdiff.api import pages

            answer, page = pages.explain_with_page(files, settings, progress, typed(), asked)
            page.save(html)
    _show_explanations(answer, as_json)
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


def _show_explanations(answer: Any, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.explanation import explanations_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(explanations_document(answer.found, answer.failures)))
        return
    from quantdiff.report.text.explanation import print_explanation
    from quantdiff.report.text.terminal import Terminal

    for each in answer.found:
        print_explanation(each, Terminal())


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
    from quantdiff.api import parameters
    from quantdiff.report.text.terminal import progress_bar

    shown = {name: options.pop(name) for name in ("channels", "unmatched")}
    seed, bias, settings = options.pop("seed"), not options.pop("no_bias"), settings_of(options)
    if model:
        from quantdiff.experiment.datasets import default_name
        from quantdiff.experiment.trial import Trial

        data = (*options.pop("data"), default_name())[0]
        trial = Trial(model, seed, str(data), quantize=True, bias=bias)
        with progress_bar() as progress:
            answer = parameters.params_experiment(trial, settings, progress)
    else:
        with progress_bar() as progress, spread(options) as on:
            data = given_parts(options, models[-1], on)
            answer = parameters.params(models[0] if len(models) > 1 else None, models[-1], data, settings, progress)
    _show_parameters(answer, as_json, **shown)
    return 0


def _show_parameters(answer: Any, as_json: bool, **how: bool) -> None:
    from quantdiff.report.text.params import parameters_document, print_parameters

    if as_json:
        from quantdiff.report.json.text import json_text

        click.echo(json_text(parameters_document(answer)))
    else:
        from quantdiff.report.text.terminal import Terminal

        print_parameters(answer, Terminal(), **how)


@command("quantdiff overlay qat.h5 model.tflite --data data.npz --out overlays")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the files.")
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def overlay(as_json: bool, reference: Path, candidate: Path, out: Path, **options: Any) -> int:
    """Write each layer's error as node data for Model Explorer.

    It paints them on the graph of CANDIDATE. A file per metric, and per rung of explain where REFERENCE is a
    Keras model.
    """
    from quantdiff.api import overlays
    from quantdiff.report.json.text import json_text
    from quantdiff.report.overlay import overlays_document, overlays_text
    from quantdiff.report.text.terminal import progress_bar

    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on)
        made = overlays.overlay(reference, candidate, data, out, settings_of(options), progress)
    source = made.outcome.artifacts["data"]
    if as_json:
        made_by = {**made.outcome.made_by, "command": "overlay", "data": source}
        click.echo(json_text(overlays_document(made.written, made_by)))
    else:
        say(overlays_text(made.written, candidate, out, source))
    for failure in made.failures:
        complain(failure.error)
    return TROUBLE if made.failures else 0
