"""``quantdiff report``: what a store of trials says."""

from __future__ import annotations

from pathlib import Path

import click

from quantdiff.cli.command import command


@command
@click.argument("store", metavar="STUDY.db", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Also write plots to this file, which needs no network.")
def report(as_json: bool, store: Path, html: Path | None) -> int:
    """Sum a sweep up: error rates, paired differences, ranges."""
    from quantdiff import api

    summary = api.report_study(store)
    if html is not None:
        from quantdiff.report.folder import staged
        from quantdiff.report.study_html import study_page

        with staged(html.parent) as folder:
            (folder / html.name).write_text(study_page(summary), encoding="utf-8")
    if as_json:
        from quantdiff.report.plain import json_text
        from quantdiff.report.study import summary_document

        click.echo(json_text(summary_document(summary)))
    else:
        from quantdiff.report.study import print_summary

        print_summary(summary)
    return 0
