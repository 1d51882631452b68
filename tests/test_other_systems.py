"""What macOS, Windows and their consoles lack, taken away here: commands work, or say in one line what is missing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import small_models as models

import quantdiff
from quantdiff.files import python_function, split_part
from quantdiff.run.runtimes import entry_of

ALL = """
import shlex, sys
from quantdiff.cli import console
for line in sys.argv[1:]:
    sys.argv = ["quantdiff", *shlex.split(line)]
    try:
        console()
    except SystemExit as end:
        print(f"status {end.code}", flush=True)
"""
"""Several commands in one process, each with its status."""

WINDOWS = """
import ctypes, mmap, os, select, signal, socket, sys
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios")))
lacking = {
    os: ("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "fork", "forkpty", "memfd_create", "posix_fallocate", "getuid",
         "geteuid", "set_blocking", "pidfd_open", "register_at_fork", "sysconf", "readv", "sched_getaffinity",
         "statvfs", "mkfifo", "pread"),
    signal: ("SIGHUP", "SIGBUS", "SIGKILL", "SIGPIPE", "SIGALRM", "pidfd_send_signal"), mmap: ("MADV_DONTNEED",),
    socket: ("send_fds", "recv_fds", "AF_UNIX"), select: ("poll", "epoll"),
}
for module, names in lacking.items():
    for name in names:
        delattr(module, name)
os.supports_dir_fd = set()
sys.modules.pop("shutil", None)  # it decides when it is imported
library = ctypes.CDLL
ctypes.CDLL = lambda name, *more, **options: library(name.encode() and name, *more, **options)  # not of this process
"""

MACOS = """
import fcntl, os, resource, select, signal, socket, sys
lacking = {
    os: ("memfd_create", "posix_fallocate", "pidfd_open", "O_TMPFILE", "sched_getaffinity"),
    signal: ("pidfd_send_signal",), socket: ("MSG_CMSG_CLOEXEC",), select: ("epoll",), fcntl: ("F_SETSIG",),
}
for module, names in lacking.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
def refuse(what, limits):
    raise ValueError("current limit exceeds maximum limit")  # as it does for RLIMIT_AS
resource.setrlimit = refuse
sys.platform = "darwin"
"""

FILES = ("inspect m.tflite", "inspect m.tflite --json", "lint m.tflite", "params m.tflite", "runtimes", "diff --help")
RUNS = (
    "diff m.tflite m.tflite --data d.npz --layers",
    "diff f.tflite m.tflite --data d.npz --layers",
    "explain f.tflite m.tflite --data d.npz",
    "params f.tflite m.tflite --data d.npz",
    "verify m.tflite --samples 4",
    "work m.tflite --data d.npz --op 0 --element 0,1",
    "vectors m.tflite --data d.npz --out vectors",
    "overlay f.tflite m.tflite --data d.npz --out painted",
    "record m.tflite --data d.npz --out dump.npz",
    "identify m.tflite --samples 4",
    "extract m.tflite --ops 0 --out part.tflite",
    "advise f.tflite m.tflite --data d.npz",
    "worst f.tflite m.tflite --data d.npz --out worst.npz --for 1s",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(tmp_path, models.two_dense(), "m.tflite")
    models.save(tmp_path, models.two_dense(None), "f.tflite")
    np.savez(tmp_path / "d.npz", allow_pickle=False, x=np.ones((4, models.DEPTH), np.float32))
    return tmp_path


def asked(
    folder: Path, code: str, lines: Sequence[str], more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """What a Python that runs ``code`` first says to these command lines."""
    done = [sys.executable, "-c", code + ALL, *lines]
    return subprocess.run(done, cwd=folder, env={**os.environ, **(more or {})}, capture_output=True, check=False)


def statuses(said: bytes) -> list[int]:
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith(b"status ")]


def test_files_are_read_on_windows_and_a_runtime_needs_wsl(folder: Path) -> None:
    done = asked(folder, WINDOWS, (*FILES, *RUNS))
    assert statuses(done.stdout) == [0] * len(FILES) + [2] * len(RUNS), done.stderr.decode()
    assert b"FULLY_CONNECTED" in done.stdout
    wsl = b"error: this system's processes hand no memory to each other; on Windows, work in WSL"
    assert done.stderr.splitlines() == [wsl] * len(RUNS)


def test_macos_has_no_memory_without_a_name_and_forks_no_children(folder: Path) -> None:
    """Nor a signal when a pipe breaks: children are started, share a file that is in no folder, wait in a thread."""
    (folder / "sitecustomize.py").write_text(MACOS, encoding="utf-8")
    lines = ("diff f.tflite m.tflite --data d.npz --json", "verify m.tflite --samples 4 --json")
    done = asked(folder, "", lines, {"PYTHONPATH": str(folder)})
    assert statuses(done.stdout) == [1, 0], done.stderr.decode()
    assert [line[:10] for line in done.stderr.splitlines()] == [b"different:"]


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [("latin-1", FILES), ("cp1252", FILES[:2]), pytest.param("cp1252", RUNS, marks=pytest.mark.thorough)],
)
def test_a_console_that_lacks_characters_gets_others(folder: Path, encoding: str, lines: tuple[str, ...]) -> None:
    code = "import sys; sys.stdout.reconfigure(errors='strict')\n"
    done = asked(folder, code, lines, {"PYTHONIOENCODING": encoding})
    assert all(status in (0, 1) for status in statuses(done.stdout)), done.stderr.decode()
    assert len(statuses(done.stdout)) == len(lines)
    said = done.stdout.decode(encoding)
    assert "\\u" not in said
    if lines != RUNS:
        assert " -> " in said
        assert ("…" if encoding == "cp1252" else "...") in said
    assert all(line.startswith(b"different:") for line in done.stderr.splitlines())


@pytest.mark.parametrize("home", ["C:\\data\\", "\\\\server\\share\\", "D:", "/data/"])
def test_names_of_windows_are_told_apart(home: str) -> None:
    """A drive's letter is no function, no signature and no kind of data."""
    assert python_function(f"{home}mine.py:batches") == (Path(f"{home}mine.py"), "batches")
    assert python_function(f"{home}mine.py") is None
    assert split_part(Path(f"{home}model.tflite#sign")) == (Path(f"{home}model.tflite"), "sign")
    assert entry_of(f"recorded:{home}dump.npz").file == f"{home}dump.npz"


def test_text_has_an_encoding_whatever_the_system_prefers() -> None:
    package = Path(quantdiff.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    for path in (path for path, text in texts.items() if "_text(" in text):
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("read_text", "write_text"):
                assert any(given.arg == "encoding" for given in node.keywords), f"{path}:{node.lineno}"
