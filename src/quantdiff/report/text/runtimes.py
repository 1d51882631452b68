"""What ``quantdiff runtimes`` found, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from quantdiff.references.survey import SIMULATED, Engine


def print_engines(engines: Sequence[Engine], console: Console) -> None:
    """A row for each, for what is missing the line that installs it, and what holds of the confinement."""
    table = Table(box=None, pad_edge=False)
    for head in ("engine", "kind", "version", "machine", "reached"):
        table.add_column(head)
    for engine in engines:
        reached = engine.reached if engine.version or engine.reached == SIMULATED else "not installed"
        table.add_row(
            engine.name,
            engine.kind,
            f"{engine.package} {engine.version or ''}",
            engine.machine,
            reached.partition(",")[0],
        )
    console.print(table)
    for engine in engines:
        if engine.install:
            console.print(f"{engine.name}: {engine.install}", soft_wrap=True, markup=False, highlight=False)
    for holds, words in ((True, "a child process has"), (False, "this system does not give it")):
        names = {n: None for engine in engines for n, held in engine.confinement.items() if held is holds}
        if names:
            console.print(f"{words}: {', '.join(name.replace('_', ' ') for name in names)}", soft_wrap=True)
