"""A child process: how it starts, what it prints, and that it does not outlive us. Imports no NumPy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

from quantdiff.errors import RuntimeFailed, RuntimeUnavailable
from quantdiff.run.channel import Beside, Channel, InStream
from quantdiff.run.forkserver import Forked, forked
from quantdiff.run.scratch import scratch

CHATTER = ("INFO:", "WARNING: All log")  # lines of native code that explain nothing
WORDS_AT_MOST = 300  # characters of somebody else's message

_running: weakref.WeakSet[Process] = weakref.WeakSet()
_ending = threading.Event()  # of the process, like its children


class Process:
    """A child that answers as the module says, a channel to it, and what it prints.

    Here, its standard input is a pipe that nobody writes to: the pipe breaks when this process is gone, however that
    came, and the child ends (``serving.end_with_parent``). Its temporary files lie in a folder that goes with it. With
    ``fork`` it comes from a process that has imported the module already, where the system has such.
    Where a ``command`` starts it, it answers over its standard input and output, which may lie on another machine;
    what module that is, and what holds it there, the command says.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
        fork: bool = False,
    ) -> None:
        if _ending.is_set():
            raise RuntimeFailed("interrupted")
        if not hasattr(socket, "send_fds"):
            raise RuntimeUnavailable("this system's processes hand no memory to each other; on Windows, work in WSL")
        ours, theirs = socket.socketpair()
        self._opened, surroundings = ExitStack(), {**(os.environ if environment is None else environment)}
        with suppress(OSError):  # no room for temporary files: whoever needs them says so
            surroundings["TMPDIR"] = str(self._opened.enter_context(scratch()))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with us)
        self.child: subprocess.Popen[bytes] | Forked
        self.channel: Channel = InStream(ours.detach()) if command else Beside(ours)
        with theirs:
            child = forked(module, surroundings, theirs.fileno(), self._log.fileno()) if fork and not command else None
            self.child = child or self._started(theirs.fileno(), (module, *arguments), surroundings, command)
        _running.add(self)
        if _ending.is_set():  # the end came meanwhile
            self.close()
            raise RuntimeFailed("interrupted")

    def _started(
        self, theirs: int, arguments: Sequence[str], environment: Mapping[str, str], command: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        here = sys.executable, "-P", "-m", "quantdiff.run.serving", str(theirs), *arguments
        try:
            return subprocess.Popen(
                command or here,
                stdin=theirs if command else subprocess.PIPE,
                stdout=theirs if command else self._log.fileno(),
                stderr=self._log,
                pass_fds=[] if command else [theirs],
                env=environment,
                start_new_session=bool(command),  # Ctrl-C is for us, who end it
            )
        except OSError as error:
            self._let_go()
            if not command:
                raise
            raise RuntimeUnavailable(
                f"{command[0]}: cannot be started ({error.strerror}); check the command"
            ) from error

    def kill(self) -> None:
        """End it, whatever it does; whoever waits for its answer hears that it is gone."""
        self.child.kill()

    def close(self) -> None:
        """End it and let go of what belongs to it."""
        self.kill()
        self.child.wait()
        if self.child.stdin is not None:
            self.child.stdin.close()
        self._let_go()
        _running.discard(self)

    def _let_go(self) -> None:
        self.channel.close()
        self._log.close()
        self._opened.close()

    def ending(self) -> str:
        """How it ended, when it did so by itself: ``SIGSEGV``, ``exit status 1``; and its last words."""
        code = self.child.wait()
        return self.reason(signal.Signals(-code).name if code < 0 else f"exit status {code}")

    def reason(self, reason: str) -> str:
        """The reason with the last words of native code about this model: they name the operator."""
        self._log.seek(0)
        lines = [" ".join(line.split()) for line in self._log.read().decode(errors="replace").splitlines()]
        said = [line for line in dict.fromkeys(lines) if line and not line.startswith(CHATTER)]
        return on_one_line(": ".join([reason, "; ".join(said[-2:])] if said else [reason]))


def on_one_line(message: str) -> str:
    """A native message on one line, without characters that steer a terminal."""
    line = " ".join(message.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:WORDS_AT_MOST]


def end_all() -> None:
    """End every child, and start none: threads that wait for an answer of one then wait no longer."""
    _ending.set()
    for process in tuple(_running):
        process.kill()


def begin_again() -> None:
    """Children may start again."""
    _ending.clear()


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: large arrays come and go with every sample, and memory fresh from the system has to be cleared."""
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""For glibc: ask for memory in pages of 2 MB, where the system has them; tensors lie in many of the small ones."""


def memory_kept() -> dict[str, str]:
    """The environment of a child that runs one model again and again."""
    tuned = [os.environ[TUNABLES]] if os.environ.get(TUNABLES) else []
    return {**os.environ, **KEEP_MEMORY, TUNABLES: ":".join([*tuned, LARGE_PAGES])}
