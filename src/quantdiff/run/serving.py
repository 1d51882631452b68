"""The child's side of the channel: confined, it answers requests until the parent is gone. Imports no NumPy.

It runs a stranger's file: see ``docs/security.md`` for what its confinement is worth.
"""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from quantdiff.files import PREFIX
from quantdiff.run.channel import PROTOCOL, Channel, InStream, Message
from quantdiff.run.process import Beside

SET_NO_NEW_PRIVILEGES = 38  # linux/prctl.h
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # linux/sched.h

LEAST = 2**33  # bytes: TensorFlow reserves three times as much as it uses

MEASURES = ("no_new_privileges", "no_network", "memory_limit", "file_size_limit", "scratch_folder")
"""In the order in which they are taken and shown."""


def confine() -> dict[str, bool]:
    """Give up rights that running a model does not take; which of ``MEASURES`` hold.

    To be called before the process has threads: a network of one's own takes a user namespace of one's own where
    we are not root, and Linux gives that to a process of one thread only.
    """
    taken = _no_new_privileges, _no_network, _memory_limit, _file_size_limit, _scratch_folder
    return {name: _held(take) for name, take in zip(MEASURES, taken, strict=True)}


def _held(take: Callable[[], bool]) -> bool:
    try:
        return take()
    except (ImportError, AttributeError, ValueError, OSError):
        return False


def _no_new_privileges() -> bool:
    """No program that it starts can have more rights than it has."""
    return bool(_linux().prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0)


def _no_network() -> bool:
    """A network without any device."""
    libc = _linux()
    return any(libc.unshare(flags) == 0 for flags in (NEW_NETWORK, NEW_USER | NEW_NETWORK))


def _linux() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise OSError
    return ctypes.CDLL(None)


def _memory_limit() -> bool:
    """Address space as much as the machine has memory: a damaged model that asks for terabytes fails by itself."""
    import resource  # noqa: PLC0415 (not on every system)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return _limit(resource.RLIMIT_AS)


def _file_size_limit() -> bool:
    """No file larger than memory."""
    import resource  # noqa: PLC0415

    return _limit(resource.RLIMIT_FSIZE)


def _scratch_folder() -> bool:
    """Temporary files lie in a folder that goes with the process; the parent made it."""
    folder = Path(tempfile.gettempdir())
    return folder.name.startswith(PREFIX) and os.access(folder, os.W_OK)


def _limit(what: int) -> bool:
    import resource  # noqa: PLC0415

    total = max(LEAST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    hard = resource.getrlimit(what)[1]
    most = total if hard == resource.RLIM_INFINITY else min(total, hard)
    resource.setrlimit(what, (most, most))
    return True


Say = Callable[[Message], None]
Answer = Callable[[Message, list[int], Say], tuple[Message, Sequence[int]]]
"""From a request, its descriptors and what takes messages in between: the last message, and its descriptors."""


def main(descriptor: str, module: str, *arguments: str) -> None:
    """Become a child that answers as ``module.answers(*arguments)`` says; nothing is imported before it is confined."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    end_with_parent()
    begin(Beside(socket.socket(fileno=int(descriptor))), module, *arguments)


def over_standard_streams(module: str) -> None:
    """As ``main``, for a command that starts us elsewhere: over standard input and output.

    What native code prints goes to standard error. Another process ends this one when the other side is gone,
    whatever it does then: native code may hold the interpreter.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reads, writes, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    ended, held = os.pipe()
    answering = os.getpid()
    if not os.fork():
        os.close(held)
        os.close(writes)
        _until_gone(reads, ended)
        if os.getppid() == answering:
            os.kill(answering, signal.SIGKILL)
        os._exit(0)
    os.close(ended)
    begin(InStream(reads, writes), module)
    os._exit(0)


def _until_gone(reads: int, ended: int) -> None:
    """Wait for the end of the other side, or of the process that answers."""
    waiting = select.poll()
    for descriptor in (reads, ended):
        waiting.register(descriptor, 0)  # nothing but its end
    waiting.poll()


def begin(channel: Channel, module: str, *arguments: str) -> None:
    """Say hello, confined, and answer as the module says until the parent is gone."""
    confined = confine()
    answer = import_module(module).answers(*arguments)
    hello: Message = {"result": "ready", "protocol": PROTOCOL, "machine": platform.machine(), "confined": confined}
    if not channel.shares:
        hello["versions"] = import_module("quantdiff.run.runtimes").versions()
    channel.send(hello)
    serve(channel, answer)


def serve(channel: Channel, answer: Answer) -> None:
    """Answer requests until the parent is gone. An error is an answer, too."""
    while True:
        try:
            request, descriptors = channel.receive()
        except EOFError:
            return
        try:
            message, shared = answer(request, descriptors, channel.send)
        except Exception as error:
            message, shared = {"error": f"{error}" or type(error).__name__, "kind": type(error).__name__}, ()
        channel.send(message, shared)


def end_with_parent() -> None:
    """End when standard input, a pipe of which the parent holds the other end, breaks.

    Linux sends a signal, so native code need not let go of the interpreter's lock (TFLM never does); unlike
    ``PR_SET_PDEATHSIG`` it does not come when the thread ends that started us. Elsewhere a thread waits.
    """
    import fcntl  # noqa: PLC0415 (Windows has none, and starts no child)

    if not hasattr(fcntl, "F_SETSIG"):
        threading.Thread(target=_wait, daemon=True).start()
        return
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it broke before
        os._exit(0)


def _wait() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
