"""Make the folder that ``run/emulation.py`` runs: packages of Debian or Ubuntu, and wheels, for ARM64.

No root rights and no chroot: ``apt-get`` works on folders of its own, checks every package by the signed index, and
``dpkg-deb`` unpacks it; no script of a package runs. Which servers are asked, this machine's apt and pip decide.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from quantdiff.errors import RootNotMade
from quantdiff.run import emulation
from quantdiff.sim.runtime import CHECKED

LITERT = "ai-edge-litert"
LEAST = 11
"""Python 3.11, as for this package."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
CONTAINER = "docker run --platform linux/arm64 does it without (docs/how-to/what-will-the-phone-say.md)"
CONFIGURATION = """
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; "{here}"; }};
APT::Sandbox::User "";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
"""
PROCESSOR_FILE = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
"""A Cortex-A76: LiteRT reads it, and emulators before version 10 would show that of this machine."""

HOST, INTERPRETER = "host", b"ld-linux"
"""Where the emulator's libraries lie, and what a program names that needs some."""
UNREAD = ("usr/share", "usr/lib/*/gconv", "usr/lib/python3*/test", "usr/lib/python3*/pydoc_data")
"""What no worker reads."""

Tell = Callable[[str], None]


def make_root(into: Path | None, tell: Tell) -> Path:
    """The folder, made beside its place and put there when it is whole; ``into`` is linked to from the cache.

    Raises:
        RootNotMade: something is missing here, cannot be had, or stands in the way.
    """
    target, cached = (into or emulation.cached()).absolute(), emulation.cached()
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise RootNotMade(f"no {tool} here, which fetches and unpacks ARM64's packages; {CONTAINER}")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        whole = (target / emulation.COMPLETE).is_file()
        raise RootNotMade(f"{target}: {'is made already' if whole else 'is there and no such folder'}; remove it first")
    with _beside(target) as made:
        _fill(made, tell)
        if target.exists():
            target.rmdir()
        made.rename(target)
    if target != cached:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.unlink(missing_ok=True) if cached.is_symlink() or not cached.exists() else None
        if not cached.exists():
            cached.symlink_to(target)
    return target


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise RootNotMade(f"{target}: cannot be made ({error.strerror}); give another folder by --into") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(made: Path, tell: Tell) -> None:
    with tempfile.TemporaryDirectory(prefix="quantdiff-apt-") as scratch, ThreadPoolExecutor(1) as beside:
        tell("packages for ARM64")
        here = _run(["dpkg", "--print-architecture"]).strip()
        apt = _apt(Path(scratch), "arm64", here)
        minor = _python_of(apt)
        wheels = beside.submit(_wheels, made, minor)
        _unpack(apt, made, f"python3.{minor}-minimal", f"libpython3.{minor}-stdlib", "libstdc++6")
        _emulator(made, apt, here, tell)
        tell("wheels for ARM64")
        wheels.result()
    (made / emulation.PYTHON).unlink(missing_ok=True)
    (made / emulation.PYTHON).symlink_to(f"python3.{minor}")
    (made / "proc").mkdir(exist_ok=True)
    (made / "proc" / "cpuinfo").write_text(PROCESSOR_FILE, encoding="utf-8")
    tell("trying them")
    _run([*emulation.python(made), "-c", f"import sys; sys.path.insert(0, {str(made / emulation.SITE)!r}); "
          "import numpy, ai_edge_litert.interpreter"])  # fmt: skip
    (made / emulation.COMPLETE).write_text(f"{LITERT} {_litert()}\n", encoding="utf-8")


def _apt(folder: Path, architecture: str, here: str) -> Mapping[str, str]:
    """The environment of an apt that knows nothing installed, and has read the index of both architectures."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    configuration = CONFIGURATION.format(folder=folder, architecture=architecture, here=here)
    (folder / "apt.conf").write_text(configuration, encoding="utf-8")
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"}
    _run(["apt-get", "update", "-qq"], environment)  # one source may fail: what is missing is said later
    return environment


def _python_of(environment: Mapping[str, str]) -> int:
    """The minor version of the Python 3 that the index has."""
    found = re.search(r"Depends: python3\.(\d+)\s", _run(["apt-cache", "depends", "python3"], environment))
    if found is None or int(found[1]) < LEAST:
        have = f"Python 3.{found[1]}" if found else "no Python 3"
        raise RootNotMade(f"this machine's package sources have {have} for ARM64, not 3.{LEAST} or later; {CONTAINER}")
    return int(found[1])


def _unpack(environment: Mapping[str, str], into: Path, *names: str) -> None:
    """The packages and all that they need."""
    options = ("-qq", "--yes", "--download-only", "--no-install-recommends")
    _run(["apt-get", "install", *options, *names], environment)
    for package in sorted((Path(environment["APT_CONFIG"]).parent / "cache" / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(into)])
        package.unlink()
    for unread in UNREAD:
        for folder in into.glob(unread):
            shutil.rmtree(folder)


def _emulator(made: Path, environment: Mapping[str, str], here: str, tell: Tell) -> None:
    """A program of one file: this machine's, or that of a package; else one with libraries, and what starts it."""
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if found is not None:
        (made / emulation.EMULATOR).symlink_to(found)
        return
    tell("the emulator")
    host = made / HOST
    _unpack(environment, host, f"qemu-user:{here}")
    program = host / "usr" / "bin" / "qemu-aarch64"
    if not program.is_file():
        raise RootNotMade("the package qemu-user holds no qemu-aarch64; install one and try again")
    if INTERPRETER not in program.read_bytes()[:4096]:  # linked statically
        shutil.move(program.resolve(), made / emulation.EMULATOR)
        shutil.rmtree(host)
        return
    for other in program.parent.glob("qemu-*"):
        if other != program:
            other.unlink()
    loader = next(iter(sorted(host.glob("**/ld-linux*.so.*"))), None)
    if loader is None:
        raise RootNotMade("the package qemu-user comes without a loader; install qemu-aarch64 and try again")
    folders = sorted({str(each.parent.relative_to(made)) for each in host.glob("**/lib*.so.*")})
    paths = ":".join(f"$here/{folder}" for folder in folders)
    words = f'exec "$here/{loader.relative_to(made)}" --library-path "{paths}" "$here/{program.relative_to(made)}" "$@"'
    script = f'#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n{words}\n'
    (made / emulation.EMULATOR).write_text(script, encoding="utf-8")
    (made / emulation.EMULATOR).chmod(0o755)


def _wheels(made: Path, minor: int) -> None:
    """LiteRT in the version that is installed here, and what it needs, unpacked; nothing is built or run."""
    wanted = [f"{LITERT}=={_litert()}", "numpy"]
    into = ["--target", str(made / emulation.SITE)]
    if find_spec("pip") or shutil.which("pip"):
        pip = [sys.executable, "-m", "pip"] if find_spec("pip") else ["pip"]
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        kind = ["--only-binary=:all:", "--implementation", "cp", "--python-version", f"3.{minor}", *platforms]
        _run([*pip, "install", "--quiet", "--no-compile", *into, *kind, *wanted])
    elif shutil.which("uv"):
        kind = ["--only-binary", ":all:", "--python-version", f"3.{minor}", "--python-platform", PLATFORMS[0]]
        _run(["uv", "pip", "install", "--quiet", *into, *kind, *wanted])
    else:
        raise RootNotMade("neither pip nor uv is here to fetch LiteRT's wheel for ARM64: python -m ensurepip")


def _litert() -> str:
    try:
        return version(LITERT)
    except PackageNotFoundError:
        return CHECKED[LITERT][-1]


def _run(words: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """What it prints.

    Raises:
        RootNotMade: it fails; with the last thing that it says.
    """
    try:
        done = subprocess.run(
            words, env=environment, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise RootNotMade(f"{words[0]} cannot be started ({error.strerror})") from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("E:", "ERROR", "error"))]
        last = " ".join((errors or said or [f"exit status {done.returncode}"])[0].split())
        raise RootNotMade(f"{Path(words[0]).name} {words[1]} fails: {last}; is there a network? {CONTAINER}")
    return done.stdout
