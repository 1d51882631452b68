"""Children forked from a process that has imported what they need: a hundredth of the time that Python takes to start.

That process never sees a model, so a child is as fresh as one that was started; it is confined after the fork. Linux
only, as ``fork`` and a process's descriptor (``pidfd_open``) are. Imports no NumPy.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module

from quantdiff.run.channel import Beside, Message

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


def main(descriptor: str, module: str) -> None:
    """Fork a child for each request, and tell how those ended that are asked about, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_module(module)
    channel = Beside(socket.socket(fileno=int(descriptor)))
    while True:
        try:
            request, descriptors = channel.receive()
        except EOFError:
            return
        if "reap" in request:
            channel.send({"answer": os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])})
        elif pid := os.fork():
            for each in descriptors:
                os.close(each)
            channel.send({"answer": pid})
        else:
            channel.close()
            _become(module, request, *descriptors)


def _become(module: str, request: Message, channel: int, reads: int, log: int) -> None:
    """The child: standard streams and folder of its own, then what it is for."""
    from quantdiff.run.serving import begin, end_with_parent  # noqa: PLC0415 (the child's side alone)

    try:
        for there, here in ((reads, 0), (log, 1), (log, 2)):
            os.dup2(there, here)
        os.close(reads)
        os.close(log)
        os.environ[FOLDER], tempfile.tempdir = request["folder"], None
        os.chdir(request["here"])
        end_with_parent()
        begin(Beside(socket.socket(fileno=channel)), module)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
