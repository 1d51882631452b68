"""What a command tells: trouble in one clean line, a sentence, and what was found in the forms of CI servers."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

import click

from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.run.runtimes import note_of

TROUBLE = 2
BROKEN_PIPE = 141  # as shells have it, too: the reader of our output is gone, as `head` is when it has seen enough
CURES = {
    errno.ENOSPC: "make room there",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "close other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EBADF: "open it, or redirect it",
}


class ReaderGone(Exception):
    """Whoever read standard output has closed it."""


def told(error: Exception, command: str, form: str | None) -> int:
    """Say it in one line, to a CI server in its own form, too; the status."""
    if isinstance(error, ReaderGone):
        return BROKEN_PIPE
    message, hint = f"unexpected {type(error).__name__}: {error}", " (add --debug for the whole story)"
    if isinstance(error, click.UsageError):  # options that do not go together
        message, hint = error.message, ""
    if isinstance(error, OSError):
        message, hint = refusal(error), ""
    if isinstance(error, MemoryError):
        message, hint = f"{command}: not enough memory ({reason_of(error)}); use fewer samples or smaller models", ""
    if isinstance(error, QuantdiffError):
        message, hint = str(error), ""
    tell_ci(command, message, form)
    return complain(message + hint)


def complain(message: str) -> int:
    """Print one clean line on standard error and return the status for trouble."""
    from quantdiff.report.text.terminal import printable

    with contextlib.suppress(OSError):  # nobody listens: the status says it
        click.echo("error: " + printable(" ".join(message.split())), err=True)
    return TROUBLE


def say(sentences: str) -> None:
    """Print them on standard output; on a terminal lines break between words."""
    from quantdiff.report.text.terminal import Terminal

    Terminal().print(sentences, soft_wrap=True)


def refusal(error: OSError) -> str:
    """What the system refuses, and how to go on."""
    cure = CURES.get(error.errno or 0, "see to that and try again")
    return f"{error.filename or 'the system refuses'}: {error.strerror or reason_of(error)}; {cure}"


def tell_what_is_simulated(name: str) -> None:
    """On standard error, where a runtime is not here and its simulator stands for it."""
    if note := note_of(name):
        click.echo(note, err=True)


FOR_CI = ("junit", "github")


def show_for_ci(checked: Any, form: str) -> None:
    """Print what was checked as ``junit`` or ``github`` wants it; a step summary goes where GitHub says."""
    if form == "junit":
        from quantdiff.report.ci.forms import junit_text

        click.echo(junit_text(checked))
        return
    from quantdiff.report.ci.forms import add_summary, summary, workflow_commands

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
