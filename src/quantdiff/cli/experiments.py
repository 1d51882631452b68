"""Commands on experiments: run one, sweep over many, report what was kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.command import Number, RuntimeName, command, settings_of, status_of, typed, whole
from quantdiff.cli.options import html_option, metric_option, runtime_option, timeout_option, tolerance_option
from quantdiff.cli.pairs import show_outcome
from quantdiff.cli.telling import TROUBLE, complain
from quantdiff.run.runtimes import ALL

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from quantdiff.compare.moved import Movement


@command("quantdiff run --model CNN --quantize --runtime all --html run.html")
@click.option("--model", default="dense4", show_default=True, help="CNN, dense1, dense2, dense3, …")
@click.option(
    "--quantize", is_flag=True, help="int8 input and output too; else the converter's defaults, float at both ends."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=3, show_default=True)
@click.option("--no-bias", is_flag=True, help="Dense layers without biases.")
@click.option("--epochs", type=whole(1), default=1, show_default=True)
@click.option("--data", help="mnist, mnist-small or an .npz; default mnist where Keras has it, else mnist-small.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for models, data and results.")
@html_option
@runtime_option
@tolerance_option
@timeout_option
def run(as_json: bool, no_bias: bool, data: str | None, out: Path | None, html: Path | None, **options: Any) -> int:
    """Train a digit classifier, convert it, and print what differs."""
    from quantdiff.experiment.datasets import default_name
    from quantdiff.experiment.trial import Trial

    settings = settings_of(options)
    trial = Trial(bias=not no_bias, data=data or default_name(), **options)  # refuses before anything is said
    if data is None and trial.data == "mnist-small":
        click.echo("data: mnist-small (6,000 + 2,000 digits of MNIST); --data mnist takes the full set", err=True)
    from quantdiff.api import experiments
    from quantdiff.report.text.terminal import progress_bar

    out = out or Path("runs") / trial.name
    with progress_bar() as progress:
        outcome = experiments.run(trial, out, settings, progress)
        if html is not None:
            from quantdiff.api import pages

            pages.run_page(out, progress, typed()).save(html)
    show_outcome(outcome, "json" if as_json else "text")
    return TROUBLE if outcome.failures else 0


STORE = "study.db"


@command("quantdiff sweep --models CNN,dense2 --seeds 0-19 --jobs 2 --store study.db > runs.csv")
@click.argument("study", required=False, metavar="[STUDY.toml]", type=click.Path(path_type=Path))
@click.option("--models", help="CNN, dense1, dense2, …, with commas between them.")
@click.option(
    "--model", multiple=True, metavar="FILE.py:BUILD", help="Your own: a function that returns a Keras model."
)
@click.option("--seeds", help="0-19, or 0,3,7; default 0.")
@click.option("--conditions", help="float, qat, qat-tflite, qat-ptq, copied-ptq, ptq, qat-bias; default all.")
@click.option("--calibration", help="Representative data: train, test or all; default train.")
@click.option("--data", help="mnist, mnist-small or an .npz; default mnist where Keras has it, else mnist-small.")
@click.option("--epochs", type=whole(1), help="Default 1.")
@click.option("--no-bias", is_flag=True, help="Dense layers without biases.")
@click.option("--tolerance", type=Number(min=0), help="How close is close, absolute; default 0.01.")
@metric_option
@click.option("--runtime", "runtimes", multiple=True, type=RuntimeName(ALL), help="Several times; default xnnpack.")
@click.option("--store", type=click.Path(path_type=Path), help=f"Results, kept and found again; default {STORE}.")
@click.option("--jobs", type=whole(1), default=1, show_default=True, help="Worker processes.")
@click.option("--dask", metavar="ADDRESS", help="Send the trials to this scheduler instead: tcp://host:8786.")
@click.option("--retry-failed", is_flag=True, help="Try trials again that are stored as failed.")
@html_option
def sweep(as_json: bool, study: Path | None, jobs: int, dask: str | None, retry_failed: bool, **options: Any) -> int:
    """Train models with several seeds, evaluate them in several ways.

    What comes out is CSV, a row per run; all results are kept in the store.
    """
    from quantdiff.api import experiments
    from quantdiff.api.experiments import LOCKED
    from quantdiff.experiment.study import make_study, read_study
    from quantdiff.report.text.terminal import progress_bar

    html = options.pop("html")
    asked = {**(read_study(study) if study else {}), **_given(options)}
    store, given = Path(asked.pop("store", STORE)), frozenset(asked)
    wanted = make_study(_with_defaults(asked))
    wanted.groups()  # refuses what is not there, before anything is said
    if "data" not in given:
        click.echo(f"data: {asked['data']}; --data takes mnist, mnist-small or an .npz", err=True)
    try:
        with progress_bar() as progress, _executor(jobs, dask) as on:

            def show(stage: str, done: int, total: int) -> None:
                if stage == LOCKED:
                    click.echo(f"{store}: locked by another program; waiting for it, a minute at most", err=True)
                else:
                    progress(stage, done, total)

            trials = experiments.sweep(wanted, store, on, retry_failed=retry_failed, progress=show)
    except KeyboardInterrupt as end:
        done, total = experiments.count_stored(wanted, store) if store.is_file() else (0, len(wanted.groups()))
        complain(f"stopped; {done} of {total} trials are in {store}. The same command goes on from there")
        return status_of(end)
    _show_trials(trials, store, as_json)
    if html is not None:
        from quantdiff.report.html.study import study_page

        study_page(experiments.report_study(store), typed()).save(html)
    failed = [error for stored in trials if (error := _error_of(stored))]
    for error in dict.fromkeys(failed):
        complain(f"{failed.count(error)} of {len(trials)} trials: {error}")
    return TROUBLE if failed else 0


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were used, under the names that a study file has for them."""
    given = {name: value for name, value in options.items() if value not in (None, (), False) and name != "no_bias"}
    return {**given, **({"bias": False} if options["no_bias"] else {})}


def _with_defaults(asked: dict[str, Any]) -> dict[str, Any]:
    from quantdiff.experiment.datasets import default_name

    asked.setdefault("data", default_name())
    return asked


def _executor(jobs: int, dask: str | None) -> AbstractContextManager[Executor]:
    """Worker processes here, which need TensorFlow, or a cluster, which has its own."""
    if dask:
        from quantdiff.experiment.workers import cluster

        return cluster(dask)
    from quantdiff.experiment.workers import Workers
    from quantdiff.experiment.zoo import check_extra

    check_extra()
    return Workers(jobs)


def _show_trials(trials: tuple[Any, ...], store: Path, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.study import sweep_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(sweep_document(trials, str(store))))
    else:
        from quantdiff.report.csv.study import sweep_csv

        click.echo(sweep_csv(trials), nl=False)
        click.echo(f"all {len(trials)} trials are in {store}; quantdiff report {store} sums them up", err=True)


def _error_of(stored: Any) -> str:
    """What went wrong in a trial, if anything did."""
    return str(stored.error) or "; ".join(
        failure.error for failure in (stored.result.failures if stored.result else ())
    )


@command("quantdiff report study.db --html study.html")
@click.argument("source", metavar="STUDY.db|RUN_DIR|RESULT.json", type=click.Path(path_type=Path))
@click.argument("after", metavar="[RESULT.json]", required=False, type=click.Path(path_type=Path))
@html_option
def report(as_json: bool, source: Path, after: Path | None, html: Path | None) -> int:
    """Sum a sweep up, write the page of a run, or say what moved.

    Of a sweep: error rates, paired differences, ranges. Of the folder of a run: the page (--html). Of two results,
    which are folders of runs or what --json printed: every figure that is not the same.
    """
    from quantdiff.api import experiments

    if after is not None:
        return _report_moved(experiments.what_moved(source, after), html, as_json)
    if source.is_dir():
        return _report_run(source, html, as_json)
    summary = experiments.report_study(source)
    if html is not None:
        from quantdiff.report.html.study import study_page

        study_page(summary, typed()).save(html)
    if as_json:
        from quantdiff.report.json.text import json_text
        from quantdiff.report.text.study import summary_document

        click.echo(json_text(summary_document(summary)))
    else:
        from quantdiff.report.text.study import print_summary
        from quantdiff.report.text.terminal import Terminal

        print_summary(summary, Terminal())
    return 0


def _report_moved(found: Movement, html: Path | None, as_json: bool) -> int:
    if html is not None:
        from quantdiff.report.html.study import movement_page

        movement_page(found).save(html)
    if as_json:
        from quantdiff.report.json.study import movement_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(movement_document(found)))
    else:
        from quantdiff.report.text.study import print_movement
        from quantdiff.report.text.terminal import Terminal

        print_movement(found, Terminal())
    return 0


def _report_run(folder: Path, html: Path | None, as_json: bool) -> int:
    if html is None and not as_json:
        return complain(f"{folder}: of a run's folder there is a page; add --html FILE")
    from quantdiff.api import experiments
    from quantdiff.report.text.terminal import progress_bar

    if html is not None:
        with progress_bar() as progress:
            from quantdiff.api import pages

            pages.run_page(folder, progress, typed()).save(html)
    if as_json:
        from quantdiff.report.json.text import json_text

        click.echo(json_text(experiments.read_run(folder)))
    return 0
