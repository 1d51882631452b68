"""What ``quantdiff runtimes`` found, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.references.survey import SIMULATED, WORKER, Engine
from quantdiff.report.text.terminal import Column, Row, Table, Terminal


def print_engines(engines: Sequence[Engine], console: Terminal) -> None:
    """A row for each, for what is missing the line that installs it, and what holds of the confinement."""
    headings = "engine", "kind", "version", "machine", "reached"
    rows = (Row((e.name, e.kind, f"{e.package} {e.version or ''}", e.machine), _reached(e)) for e in engines)
    console.print(Table(tuple(Column(heading, "word") for heading in headings[:-1]), tuple(rows), headings[-1]))
    for engine in engines:
        if line := engine.install or (engine.reached if engine.kind == WORKER else ""):
            console.print(f"{engine.name}: {line}", soft_wrap=True)
    for holds, words in ((True, "a child process has"), (False, "this system does not give it")):
        names = {n: None for engine in engines for n, held in engine.confinement.items() if held is holds}
        if names:
            console.print(f"{words}: {', '.join(name.replace('_', ' ') for name in names)}", soft_wrap=True)


def _reached(engine: Engine) -> str:
    if engine.kind == WORKER:
        return "by a command"
    there = engine.version or engine.reached == SIMULATED
    return engine.reached.partition(",")[0] if there else "not installed"
