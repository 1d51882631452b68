"""A progress bar on a terminal, nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _nothing(stage: str, done: int, total: int) -> None:
    del stage, done, total


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function (stage, done, total) that draws on standard error while the block runs."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console  # noqa: PLC0415 (only where there is a terminal)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    # A descriptor of its own: native code's noise on descriptor 2 is silenced while it works.
    with os.fdopen(os.dup(2), "w") as terminal:
        columns = TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        # The rate of a whole hour: trials of a sweep come in bursts, minutes apart.
        with Progress(*columns, console=Console(file=terminal), transient=True, speed_estimate_period=3600) as bar:
            tasks: dict[str, TaskID] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage, total=total)
                bar.update(tasks[stage], completed=done)

            yield show
