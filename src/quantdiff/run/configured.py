"""Workers of the configuration: the commands that start one somewhere else. Reading them starts nothing."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantdiff.errors import BadConfiguration, reason_of
from quantdiff.files import read_file

OWN, SHARED = "quantdiff.toml", "pyproject.toml"
BYTES_AT_MOST = 10**7
RESERVED = ("arm64", "x86_64")
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
    if name in RESERVED:
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
