"""How CI servers are told what was found: JUnit's XML, annotations of GitHub."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from quantdiff.errors import QuantdiffError

FOR_CI = ("junit", "github")


def show_for_ci(checked: Any, form: str) -> None:
    """Print what was checked as ``junit`` or ``github`` wants it; a step summary goes where GitHub says."""
    if form == "junit":
        from quantdiff.report.ci.junit import junit_text

        click.echo(junit_text(checked))
        return
    from quantdiff.report.ci.github import add_summary, summary, workflow_commands

    for line in workflow_commands(checked):
        click.echo(line)
    if not add_summary(summary(checked)):
        click.echo("\n" + summary(checked))


def tell_ci(command: str, message: str, form: str | None) -> None:
    """A CI server is told of trouble in its own form, too: an empty report looks like no tests at all."""
    if form in FOR_CI:
        from quantdiff.report.ci.case import trouble

        with contextlib.suppress(QuantdiffError, OSError):  # the trouble may be that nothing can be written
            show_for_ci(trouble(command, message), form)
