"""``quantdiff report``: what a store of trials says, or the page of a run."""

from __future__ import annotations

from pathlib import Path

import click

from quantdiff.cli.command import command, complain, html_option, typed


@command("quantdiff report study.db --html study.html")
@click.argument("source", metavar="STUDY.db|RUN_DIR", type=click.Path(path_type=Path))
@html_option
def report(as_json: bool, source: Path, html: Path | None) -> int:
    """Sum a sweep up, or write the page of a run.

    Of a sweep: error rates, paired differences, ranges. Of the folder of a run: the page (--html).
    """
    from quantdiff import api

    if source.is_dir():
        return _report_run(source, html, as_json)
    summary = api.report_study(source)
    if html is not None:
        from quantdiff.report.html.study import study_page

        study_page(summary, typed()).save(html)
    if as_json:
        from quantdiff.report.plain import json_text
        from quantdiff.report.text.study import summary_document

        click.echo(json_text(summary_document(summary)))
    else:
        from quantdiff.report.text.study import print_summary
        from quantdiff.report.text.terminal import Terminal

        print_summary(summary, Terminal())
    return 0


def _report_run(folder: Path, html: Path | None, as_json: bool) -> int:
    if html is None and not as_json:
        return complain(f"{folder}: of a run's folder there is a page; add --html FILE")
    from quantdiff import api
    from quantdiff.report.text.progress import progress_bar

    if html is not None:
        with progress_bar() as progress:
            api.run_page(folder, progress, typed()).save(html)
    if as_json:
        from quantdiff.report.plain import json_text

        click.echo(json_text(api.read_run(folder)))
    return 0
