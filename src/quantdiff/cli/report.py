"""``quantdiff report``: what a store of trials says, the page of a run, or what moved between two results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantdiff.cli.command import command, complain
from quantdiff.cli.options import html_option, typed

if TYPE_CHECKING:
    from quantdiff.compare.moved import Movement


@command("quantdiff report study.db --html study.html")
@click.argument("source", metavar="STUDY.db|RUN_DIR|RESULT.json", type=click.Path(path_type=Path))
@click.argument("after", metavar="[RESULT.json]", required=False, type=click.Path(path_type=Path))
@html_option
def report(as_json: bool, source: Path, after: Path | None, html: Path | None) -> int:
    """Sum a sweep up, write the page of a run, or say what moved.

    Of a sweep: error rates, paired differences, ranges. Of the folder of a run: the page (--html). Of two results,
    which are folders of runs or what --json printed: every figure that is not the same.
    """
    from quantdiff import api

    if after is not None:
        return _report_moved(api.what_moved(source, after), html, as_json)
    if source.is_dir():
        return _report_run(source, html, as_json)
    summary = api.report_study(source)
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
        from quantdiff.report.html.moved import movement_page

        movement_page(found).save(html)
    if as_json:
        from quantdiff.report.json.moved import movement_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(movement_document(found)))
    else:
        from quantdiff.report.text.moved import print_movement
        from quantdiff.report.text.terminal import Terminal

        print_movement(found, Terminal())
    return 0


def _report_run(folder: Path, html: Path | None, as_json: bool) -> int:
    if html is None and not as_json:
        return complain(f"{folder}: of a run's folder there is a page; add --html FILE")
    from quantdiff import api
    from quantdiff.report.text.terminal import progress_bar

    if html is not None:
        with progress_bar() as progress:
            api.run_page(folder, progress, typed()).save(html)
    if as_json:
        from quantdiff.report.json.text import json_text

        click.echo(json_text(api.read_run(folder)))
    return 0
