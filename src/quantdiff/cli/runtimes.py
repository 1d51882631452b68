"""``quantdiff runtimes``: what there is on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from quantdiff.cli.command import command


@command("quantdiff runtimes")
@click.option("--fetch", type=click.Choice(["arm64"]), help="Bring that architecture here, to be emulated.")
@click.option("--into", type=click.Path(path_type=Path), help="The folder for it; default in your cache.")
def runtimes(fetch: str | None, into: Path | None, as_json: bool) -> int:
    """Show what can run models here, and how to install what is missing.

    Of each its version, how it is reached, and how it is confined. --fetch makes a folder of 230 MB with Python and
    LiteRT for ARM64, from the package servers of this machine's apt and pip. No root rights are needed.
    """
    from quantdiff.references.survey import survey

    if fetch is not None:
        from quantdiff.run.emulation_root import make_root

        made = make_root(into, lambda what: click.echo(f"fetching: {what}", err=True))
        click.echo(f"ARM64 is in {made}", err=True)
    elif into is not None:
        raise click.UsageError("--into wants --fetch.")
    engines = survey()
    if as_json:
        from quantdiff.report.json.runtimes import runtimes_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(runtimes_document(engines)))
    else:
        from quantdiff.report.text.runtimes import print_engines
        from quantdiff.report.text.terminal import Terminal

        print_engines(engines, Terminal())
    return 0
