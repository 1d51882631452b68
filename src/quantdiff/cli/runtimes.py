"""``quantdiff runtimes``: what there is on this machine."""

from __future__ import annotations

import click

from quantdiff.cli.command import command


@command("quantdiff runtimes")
def runtimes(as_json: bool) -> int:
    """Show what can run models here, and how to install what is missing.

    Of each its version, how it is reached, and how it is confined.
    """
    from quantdiff.references.survey import survey

    engines = survey()
    if as_json:
        from quantdiff.report.json.runtimes import runtimes_document
        from quantdiff.report.plain import json_text

        click.echo(json_text(runtimes_document(engines)))
    else:
        from quantdiff.report.text.runtimes import print_engines
        from quantdiff.report.text.terminal import Terminal

        print_engines(engines, Terminal())
    return 0
