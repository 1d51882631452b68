"""The child's side of the channel: requests in, answers out, until the parent is gone."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module

from quantdiff.run.confinement import confine
from quantdiff.run.process import Channel, Message

Say = Callable[[Message], None]
Answer = Callable[[Message, list[int], Say], tuple[Message, Sequence[int]]]
"""From a request, its descriptors and what takes messages in between: the last message, and its descriptors."""


def main(descriptor: str, module: str, *arguments: str) -> None:
    """Become a child that answers as ``module.answers(*arguments)`` says; nothing is imported before it is confined."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    end_with_parent()
    channel, confined = Channel(socket.socket(fileno=int(descriptor))), confine()
    answer = import_module(module).answers(*arguments)
    channel.send({"result": "ready", "confined": confined})
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
