"""A child process: how it starts or is forked, how we talk to it, what it prints, and that it does not outlive us.

Forking takes a hundredth of the time that Python takes to start: children come from a process (``forkserver``) that
has imported what they need and never sees a model.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import select
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
from quantdiff.files import scratch
from quantdiff.run.channel import AT_ONCE, MOST, Channel, InStream, Message

CHATTER = ("INFO:", "WARNING: All log")  # lines of native code that explain nothing
WORDS_AT_MOST = 300  # characters of somebody else's message

NOT_INHERITED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has no such flag


class Beside:
    """Over a socket of this system; descriptors travel beside the lines."""

    shares = True

    def __init__(self, end: socket.socket) -> None:
        self._end, self._read, self._descriptors = end, bytearray(), list[int]()

    def send(self, message: Message, descriptors: Sequence[int] = (), timeout: float | None = None) -> None:
        """As ``Channel`` says; the other side reads at once, so nobody waits."""
        del timeout
        line = json.dumps({**message, "descriptors": len(descriptors)}).encode() + b"\n"
        sent = socket.send_fds(self._end, [line], descriptors) if descriptors else 0
        self._end.sendall(line[sent:])

    def receive(self, timeout: float | None = None) -> tuple[Message, list[int]]:
        """As ``Channel`` says."""
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


FOLDER = "TMPDIR"  # of the environment the one entry in which children differ


class ForkServer:
    """The process that forks, as seen from here; for one module, in one environment."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self.environment, ours, theirs = environment, *socket.socketpair()
        words = sys.executable, "-P", "-m", "quantdiff.run.forkserver", str(theirs.fileno()), module
        quiet = subprocess.DEVNULL
        with theirs:
            self._server = subprocess.Popen(
                words, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=[theirs.fileno()], env=environment
            )
        self._channel, self._lock = Beside(ours), threading.Lock()

    def ask(self, request: Message, descriptors: Sequence[int] = ()) -> int:
        """A number, the answer.

        Raises:
            EOFError, OSError: it is gone.
        """
        with self._lock:
            self._channel.send(request, descriptors)
            number: int = self._channel.receive()[0]["answer"]
            return number

    def close(self) -> None:
        """End it; its children go on."""
        self._channel.close()
        self._server.kill()
        self._server.wait()


class Forked:
    """A child, with as much of ``subprocess.Popen`` as is asked of one."""

    def __init__(self, server: ForkServer, pid: int, writes: int) -> None:
        self.pid, self.stdin, self._server = pid, os.fdopen(writes, "wb", 0), server
        self._code: int | None = None
        self._handle = os.pidfd_open(pid)

    def kill(self) -> None:
        """End it."""
        if self._code is None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit status, None while it lives."""
        return self._code if self._code is not None or not self._ended(0) else self.wait()

    def wait(self) -> int:
        """Its exit status, once it ended; -9 where who could tell is gone."""
        if self._code is None:
            self._ended(None)
            try:
                self._code = self._server.ask({"reap": self.pid})
            except (EOFError, OSError):
                self._code = -signal.SIGKILL
            os.close(self._handle)
        return self._code

    def _ended(self, timeout: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._handle, select.POLLIN)
        return bool(waiting.poll(timeout))


_servers: dict[str, ForkServer] = {}


_lock = threading.Lock()


def forked(module: str, environment: Mapping[str, str], channel: int, log: int) -> Forked | None:
    """A child that answers as ``module.answers()`` says over ``channel``; what it prints goes to ``log``: descriptors.

    None where children cannot be forked, and have to be started.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    shared, folder = {**environment, FOLDER: ""}, environment.get(FOLDER, "")
    with _lock:
        server = _servers.get(module)
        if server is not None and server.environment != shared:
            _servers.pop(module).close()
            server = None
        reads, writes = os.pipe()
        try:
            server = _servers[module] = server or ForkServer(module, shared)
            pid = server.ask({"folder": folder, "here": os.getcwd()}, [channel, reads, log])  # noqa: PTH109
            return Forked(server, pid, writes)
        except BaseException as error:
            os.close(writes)
            if server is not None:
                _servers.pop(module).close()
            if not isinstance(error, EOFError | OSError):
                raise
            return None
        finally:
            os.close(reads)


@atexit.register
def end_servers() -> None:
    """End what forks; the next child starts it again."""
    while _servers:
        _servers.popitem()[1].close()


if hasattr(os, "register_at_fork"):  # a process that forks itself leaves its children to the first
    os.register_at_fork(after_in_child=_servers.clear)


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: large arrays come and go with every sample, and memory fresh from the system has to be cleared."""


TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""For glibc: ask for memory in pages of 2 MB, where the system has them; tensors lie in many of the small ones."""


def memory_kept() -> dict[str, str]:
    """The environment of a child that runs one model again and again."""
    tuned = [os.environ[TUNABLES]] if os.environ.get(TUNABLES) else []
    return {**os.environ, **KEEP_MEMORY, TUNABLES: ":".join([*tuned, LARGE_PAGES])}
