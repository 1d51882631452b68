"""A child process: how it starts, how both sides talk, and that it does not outlive us. Imports no NumPy.

A message is a line of JSON over a socket, with descriptors of memory beside it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from quantdiff.errors import RuntimeFailed
from quantdiff.run.scratch import scratch

AT_ONCE = 2**16  # bytes that are read together
MOST = 200  # descriptors in one message; Linux takes 253
NOT_INHERITED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has no such flag

Message = dict[str, Any]
CHATTER = ("INFO:", "WARNING: All log")  # lines of native code that explain nothing
WORDS_AT_MOST = 300  # characters of somebody else's message

_running: weakref.WeakSet[Process] = weakref.WeakSet()
_ending = False


class Channel:
    """One end; one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._read, self._descriptors = end, bytearray(), list[int]()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message; the descriptors stay the sender's to close.

        Raises:
            OSError: nobody listens any more.
        """
        line = json.dumps({**message, "descriptors": len(descriptors)}).encode() + b"\n"
        sent = socket.send_fds(self._end, [line], descriptors) if descriptors else 0
        self._end.sendall(line[sent:])

    def receive(self, timeout: float | None = None) -> tuple[Message, list[int]]:
        """The next message and its descriptors, which are the receiver's to close.

        Raises:
            EOFError: the other side is gone.
            TimeoutError: it said nothing for ``timeout`` seconds.
        """
        self._end.settimeout(timeout)
        while (at := self._read.find(b"\n")) < 0:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._end, AT_ONCE, MOST, NOT_INHERITED)
            except ConnectionError:
                data, descriptors = b"", []
            if not data:
                raise EOFError
            self._read += data
            self._descriptors += descriptors
        message: Message = json.loads(self._read[:at])
        del self._read[: at + 1]
        count = message.pop("descriptors")
        if len(self._descriptors) < count:  # the system leaves out those that there is no room for, and says nothing
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return message, taken

    def close(self) -> None:
        """Let go of it."""
        self._end.close()


class Process:
    """A child that answers as the module says, a channel to it, and what it prints.

    Its standard input is a pipe that nobody writes to: the pipe breaks when this process is gone, however that came,
    and the child ends (``serving.end_with_parent``). Its temporary files lie in a folder that goes with it.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        if _ending:
            raise RuntimeFailed("interrupted")
        ours, theirs = socket.socketpair()
        self._opened, surroundings = ExitStack(), {**(os.environ if environment is None else environment)}
        with suppress(OSError):  # no room for temporary files: whoever needs them says so
            surroundings["TMPDIR"] = str(self._opened.enter_context(scratch()))
        self.channel, self._log = Channel(ours), tempfile.TemporaryFile()  # noqa: SIM115 (closed with us)
        with theirs:
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-m", "quantdiff.run.serving", str(theirs.fileno()), module, *arguments],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env=surroundings,
            )
        _running.add(self)

    def kill(self) -> None:
        """End it, whatever it does; whoever waits for its answer hears that it is gone."""
        self.child.kill()

    def close(self) -> None:
        """End it and let go of what belongs to it."""
        self.kill()
        self.child.wait()
        self.channel.close()
        assert self.child.stdin is not None
        self.child.stdin.close()
        self._log.close()
        self._opened.close()
        _running.discard(self)

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
    global _ending  # noqa: PLW0603 (of the process, like its children)
    _ending = True
    for process in tuple(_running):
        process.kill()


def begin_again() -> None:
    """Children may start again."""
    global _ending  # noqa: PLW0603
    _ending = False


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: large arrays come and go with every sample, and memory fresh from the system has to be cleared."""
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""For glibc: ask for memory in pages of 2 MB, where the system has them; tensors lie in many of the small ones."""


def memory_kept() -> dict[str, str]:
    """The environment of a child that runs one model again and again."""
    tuned = [os.environ[TUNABLES]] if os.environ.get(TUNABLES) else []
    return {**os.environ, **KEEP_MEMORY, TUNABLES: ":".join([*tuned, LARGE_PAGES])}
