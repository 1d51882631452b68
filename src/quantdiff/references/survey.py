"""What there is on this machine: runtimes and frameworks, and what holds them."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from quantdiff.errors import RuntimeUnavailable
from quantdiff.references.formats import formats
from quantdiff.run import emulation
from quantdiff.run.conversation import TIMEOUT, Conversation
from quantdiff.run.process import Process
from quantdiff.run.runtimes import HERE, RUNTIMES, RuntimeEntry, chosen, entry_of, workers

SIMULATED = "simulated"
"""How a runtime is reached that is known, and not here."""

IN_WSL = "in WSL alone"
"""The same of all, on a system whose processes hand no memory to each other."""

WORKER = "worker"
"""The kind of what a command of the configuration starts."""
UNKNOWN = "unknown"
"""Version and machine of a worker, which is not started to be asked."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A runtime of ``.tflite`` files, a worker of the configuration, or a framework that runs trained models.

    Attributes:
        name: of the runtime, or of the format.
        kind: ``runtime``, ``worker`` or ``reference``.
        package: what holds it, on PyPI.
        version: of the package; None where it is not installed.
        machine: the processor that it runs on: ``x86_64``.
        reached: how it is run: in a child process, emulated, or simulated alone; of a worker its command, and the file
            that says so.
        confinement: which of ``run.serving.MEASURES`` hold for it here; empty where it is not installed.
        install: the line that installs it; empty where it is.
    """

    name: str
    kind: str
    package: str
    version: str | None
    machine: str
    reached: str
    confinement: Mapping[str, bool] = field(default_factory=dict)
    install: str = ""


def survey() -> tuple[Engine, ...]:
    """Every runtime and every framework; one child is started to see what holds it, as it does all of them.

    Raises:
        RuntimeFailed: no child can be started now.
    """
    try:
        process = Process("quantdiff.run.worker")
    except RuntimeUnavailable:  # on this system never
        return tuple(replace(each, reached=IN_WSL) if each.version else each for each in _engines({}))
    try:
        talk = Conversation(process, TIMEOUT)
        talk.where = "a child process"
        holds = talk.begin().confined
    finally:
        process.close()
    return tuple(_engines(holds))


def _engines(holds: Mapping[str, bool]) -> Iterator[Engine]:
    for entry in RUNTIMES.values():
        yield _engine((entry.name, "runtime"), entry.package, entry.extra, entry.installed, holds)
    for place in workers().values():
        reached = f"{shlex.join(place.command)} ({place.source})"
        yield Engine(f"NAME@{place.name}", WORKER, "", UNKNOWN, UNKNOWN, reached)
    for entry in map(entry_of, chosen("all@arm64") if HERE != "arm64" else ()):
        yield _elsewhere(entry)
    for name, each in formats().items():
        if (found := each.framework) is not None:
            yield _engine((name, "reference"), found.package, found.extra, found.installed, holds)


def _elsewhere(entry: RuntimeEntry) -> Engine:
    """A runtime of another architecture: emulated, or not at hand."""
    named, folder = (entry.name, "runtime", entry.package), emulation.root()
    if folder is None:
        return Engine(*named, None, entry.machine, SIMULATED, install=emulation.BRINGS)
    found = (folder / emulation.COMPLETE).read_text(encoding="utf-8", errors="replace").split()[-1]
    return Engine(*named, found, entry.machine, f"emulated, {folder}")


def _engine(named: tuple[str, str], package: str, extra: str, installed: bool, holds: Mapping[str, bool]) -> Engine:
    wanted = f"pip install 'quantdiff[{extra}]'" if extra else f"pip install {package}"
    machine, reached = platform.machine(), "child process"
    if not installed:
        return Engine(*named, package, None, machine, reached, install=wanted)
    try:
        found = version(package)
    except PackageNotFoundError:  # as tensorflow-cpu, or from a folder
        found = "unknown"
    return Engine(*named, package, found, machine, reached, holds)
