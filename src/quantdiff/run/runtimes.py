"""The runtimes: one row for each, how names say them, and what they are on this machine or another.

A name is one of

    builtin            a row of ``RUNTIMES``, on this machine
    builtin@PLACE      the same on an architecture (``ARCHITECTURES``), really or simulated, or on a worker of the
                       configuration, whose command starts it somewhere else
    KIND:FILE          what a file stands for (``OF_A_FILE``): no process runs it

Importing this imports no runtime, and reading the configuration starts nothing.
"""

from __future__ import annotations

import platform
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quantdiff.errors import BadConfiguration, BadModel, NotSimulated, RuntimeUnavailable, reason_of
from quantdiff.files import read_file
from quantdiff.run import emulation
from quantdiff.sim.runtime import ARM64, Runtime

SIMULATED = "quantdiff.run.in_process"
"""Stands for a runtime that is known, and not here."""
HINT = f"`{emulation.BRINGS}` brings it"

ALL = "all"
"""Stands for every runtime that is installed."""

SILENCE_AT_MOST = 1_000_000
"""Seconds that a runtime may be told to be silent: eleven days; clocks of systems end somewhere beyond."""


def architecture_of(machine: str) -> str:
    """``x86_64`` or ``arm64``, however a system calls it; another one by its own name."""
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(machine.lower(), machine.lower())


HERE = architecture_of(platform.machine())


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """A runtime, as a name says it.

    Attributes:
        name: as it was asked for, and as results show it.
        adapter: the module that drives it in a child; empty where no child runs it.
        package: what holds it, on PyPI.
        extra: of this package, which brings that, if one does.
        machine: the architecture that it runs on; empty where only its child can tell.
        command: the words that start its child; none: this Python does, here.
        source: the file that says so.
        module: what stands for it in this process: ``start(entry, timeout)`` there gives a ``Runner``.
        file: what that reads.
    """

    name: str
    adapter: str
    package: str
    extra: str = ""
    machine: str = HERE
    command: tuple[str, ...] = ()
    source: str = ""
    module: str = ""
    file: str = ""

    @property
    def kernels(self) -> str:
        """The row of ``RUNTIMES`` whose kernels compute."""
        return self.name.partition("@")[0]

    @property
    def installed(self) -> bool:
        """Whether it can be started here; what a command starts is known when it has."""
        return bool(self.command or self.module) or find_spec(self.package.replace("-", "_")) is not None

    @property
    def of_integers(self) -> bool:
        """Whether it knows how a device rounds, and nothing of floats."""
        return self.module == OF_A_FILE["profile"]

    @property
    def simulated(self) -> Runtime | None:
        """Whose rules the simulator has for it, if any, as far as that is known before it runs."""
        return self.rules_on(self.machine)

    def rules_on(self, machine: str) -> Runtime | None:
        """Whose rules the simulator has for these kernels on an architecture, if any; while none is known, x86-64's."""
        if machine not in ("", *ARCHITECTURES) or self.kernels not in {runtime.value for runtime in Runtime}:
            return None
        rules = Runtime(self.kernels)
        return ARM64.get(rules) if machine == "arm64" else rules


RUNTIMES = {
    entry.name: entry
    for entry in (
        RuntimeEntry("xnnpack", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("builtin", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("reference", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("tflm", "quantdiff.run.tflm", "tflite-micro", extra="tflm"),
    )
}
"""Every runtime by its name, in the order in which results show them."""
OF_A_FILE = {"profile": "quantdiff.run.profiled", "recorded": "quantdiff.run.recorded"}
"""What a file can stand for, by the word before the colon: the module whose ``start`` reads it."""


def entry_of(name: str) -> RuntimeEntry:
    """The runtime of that name; nothing is started and no file of a model or dump is opened.

    Raises:
        RuntimeUnavailable: there is none.
    """
    kind, colon, file = name.partition(":")
    if colon and kind in OF_A_FILE:
        return RuntimeEntry(name, "", "", machine="", module=OF_A_FILE[kind], file=file)
    plain, at, place = name.partition("@")
    if plain not in RUNTIMES:
        others = ", ".join((*(f"{each}@PLACE" for each in list(RUNTIMES)[:1]), *(f"{each}:FILE" for each in OF_A_FILE)))
        raise RuntimeUnavailable(f"no runtime {name!r}: there are {', '.join(RUNTIMES)}, {others}")
    return _at(RUNTIMES[plain], name, place) if at else RUNTIMES[plain]


def _at(entry: RuntimeEntry, name: str, place: str) -> RuntimeEntry:
    """A row somewhere else."""
    if place == HERE:
        return entry
    if place in ARCHITECTURES:
        return _on_other(replace(entry, name=name, machine=place))
    known = workers()
    if place not in known:
        have = f"there are {', '.join(known)}" if known else "none is configured"
        raise RuntimeUnavailable(
            f"no worker {place!r} ({have}); name its command in quantdiff.toml: [runtimes.{place}] command = 'ssh …'"
        )
    return replace(entry, name=name, machine="", command=known[place].command, source=known[place].source)


def _on_other(entry: RuntimeEntry) -> RuntimeEntry:
    """A row on another architecture: by a worker in the folder that emulates it, or else by its simulator.

    Raises:
        RuntimeUnavailable: neither is known.
    """
    if entry.simulated is None:
        raise RuntimeUnavailable(
            f"runtime {entry.name}: {entry.package} comes without a wheel for {entry.machine}, so nobody has measured "
            f"it there; there are {', '.join(_named_on(entry.machine))}"
        )
    folder = emulation.root() if entry.machine == "arm64" else None
    if folder is None:
        return replace(entry, module=SIMULATED)
    return replace(entry, command=emulation.worker(folder), source=str(folder))


def note_of(name: str) -> str:
    """What to know of a runtime that is not here, on one line; empty for all others."""
    entry = entry_of(name)
    if entry.module != SIMULATED:
        return ""
    return f"{name} is simulated: no {entry.machine} runtime is here; {HINT}"


def _named_on(machine: str) -> tuple[str, ...]:
    """The runtimes of an architecture, as they are called here."""
    rows = [entry for entry in RUNTIMES.values() if entry.rules_on(machine)]
    return tuple(entry.name if machine == HERE else f"{entry.name}@{machine}" for entry in rows)


def installed() -> tuple[str, ...]:
    """The runtimes that can be started here."""
    return tuple(name for name, entry in RUNTIMES.items() if entry.installed)


def may_be_one(name: str) -> bool:
    """Whether it has the form of a name; whether there is such a worker or file, ``entry_of`` knows."""
    plain, _, place = name.partition("@")
    named = plain in RUNTIMES or (plain == ALL and place in ("", *ARCHITECTURES))
    return named or name.partition(":")[0] in OF_A_FILE


def starts_nothing(name: str) -> bool:
    """Whether a runtime comes with this package: no worker of the configuration is behind it, and no file."""
    plain, _, place = name.partition("@")
    return plain in RUNTIMES and place in ("", HERE, *ARCHITECTURES)


def chosen(names: str | Sequence[str]) -> tuple[str, ...]:
    """Each runtime of ``names`` once, in their order; ``all`` are those that are installed, ``all@arm64`` ARM64's.

    Raises:
        ValueError: one of them is no runtime, or there are none.
    """
    asked = (names,) if isinstance(names, str) else tuple(names)
    if not asked or any(not may_be_one(name) for name in asked):
        raise ValueError(f"runtime={names!r}: there are {', '.join(RUNTIMES)} and {ALL}")
    if ALL in asked:
        return installed()
    return tuple(dict.fromkeys(each for name in asked for each in _meant(name)))


def _meant(name: str) -> tuple[str, ...]:
    """The runtimes that a name stands for, those of this machine by their plain names."""
    plain, at, place = name.partition("@")
    if not at or place not in ARCHITECTURES:
        return (name,)
    if plain == ALL:
        return installed() if place == HERE else _named_on(place)
    return (plain if place == HERE else name,)


def check_installed(names: Sequence[str], *, real: bool = False) -> None:
    """Refuse what cannot be started, before any work is done; ``real``: what its simulator stands for, too.

    Raises:
        RuntimeUnavailable: there is no such runtime, or it is not installed; says what to install.
    """
    for entry in map(entry_of, names):
        if real and entry.module == SIMULATED:
            raise RuntimeUnavailable(f"runtime {entry.name} is not here to hold anything against; {HINT}")
        if not entry.installed:
            wanted = f"'quantdiff[{entry.extra}]'" if entry.extra else entry.package
            raise RuntimeUnavailable(f"runtime {entry.name} is not installed: pip install {wanted}")


def check_timeout(seconds: float) -> None:
    """Refuse what is no time to wait.

    Raises:
        ValueError: not above 0, NaN, or longer than ``SILENCE_AT_MOST``.
    """
    if not 0 < seconds <= SILENCE_AT_MOST:
        raise ValueError(f"timeout={seconds}: give seconds, above 0 and at most {SILENCE_AT_MOST:,}")


def rules_of(name: str) -> Runtime:
    """The rules by which the simulator computes what this runtime does.

    Raises:
        NotSimulated: it has none for this runtime.
        RuntimeUnavailable: there is no such runtime.
    """
    entry = entry_of(name)
    if entry.command and not entry.machine:
        raise NotSimulated(f"runtime {name}: its worker alone knows its architecture; name that: {entry.kernels}@arm64")
    rules = entry.simulated
    if rules is None:
        raise not_simulated(name)
    return rules


def not_simulated(name: str) -> NotSimulated:
    """That nobody knows the rules of this runtime."""
    known = ", ".join(each for each, entry in RUNTIMES.items() if entry.simulated)
    return NotSimulated(f"runtime {name} is not simulated, so its arithmetic cannot be shown; these are: {known}")


def check_takes_others(names: Sequence[str], command: str, others: str = "other files") -> None:
    """Complain of a recording where a command tries files, or inputs, of its own.

    Raises:
        BadModel: it knows what one file gave.
    """
    for name in names:
        if entry_of(name).module == OF_A_FILE["recorded"]:
            raise BadModel(
                f"{name} knows what one file gave for some inputs, and {command} tries {others}: name another --runtime"
            )


PACKAGES = ("quantdiff", "numpy", "tensorflow", "tf-keras", "tensorflow-model-optimization", "onnxruntime", "torch")
"""Those that take part beside the runtimes' own."""


def versions() -> dict[str, str]:
    """Version by name, of Python, the machine, and every installed package that takes part."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in dict.fromkeys((*PACKAGES, *(entry.package for entry in RUNTIMES.values()))):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


OWN, SHARED = "quantdiff.toml", "pyproject.toml"
BYTES_AT_MOST = 10**7
ARCHITECTURES = ("arm64", "x86_64")
"""Names of architectures: no worker may have one."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """A worker by its name: the words of its command, and the file that holds them."""

    name: str
    command: tuple[str, ...]
    source: str


def workers() -> dict[str, WorkerPlace]:
    """Those of the nearest ``quantdiff.toml`` or ``pyproject.toml`` that has any, from the current folder upwards.

    Raises:
        BadConfiguration: a file that cannot be read, or holds something else.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        for file in (folder / OWN, folder / SHARED):
            found = _read(file)
            if found:
                return {name: _worker(name, given, file) for name, given in found.items()}
    return {}


def _read(file: Path) -> Mapping[str, Any]:
    """The table of runtimes in a file; empty where there is none."""
    try:
        table = tomllib.loads(read_file(file, BYTES_AT_MOST).decode())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfiguration(f"{file}: cannot be read as TOML ({reason_of(error)}); mend it") from error
    found: Mapping[str, Any] = table
    for key in ("runtimes",) if file.name == OWN else ("tool", "quantdiff", "runtimes"):
        inner = found.get(key, {})
        if not isinstance(inner, dict):
            raise BadConfiguration(f"{file}: {key!r} is no table; write [runtimes.NAME] with a command")
        found = inner
    return found


def _worker(name: str, given: Any, file: Path) -> WorkerPlace:
    if name in ARCHITECTURES:
        raise BadConfiguration(f"{file}: no worker can be called {name}, which is an architecture; choose another name")
    words = tuple(_words(given))
    if not words:
        raise BadConfiguration(
            f"{file}: runtimes.{name} wants one thing, command = 'ssh HOST python3 -m quantdiff.run.worker'"
        )
    return WorkerPlace(name, words, str(file))


def _words(given: Any) -> Iterator[str]:
    """The words of the command; none where it is not understood."""
    command = given.get("command") if isinstance(given, dict) and len(given) == 1 else None
    if isinstance(command, str):
        try:
            yield from shlex.split(command)
        except ValueError:
            return
    elif isinstance(command, list) and all(isinstance(word, str) for word in command):
        yield from command
