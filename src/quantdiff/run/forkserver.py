"""The process that forks children (``process.forked``), and what a child is after the fork.

That process never sees a model, so a child is as fresh as one that was started; it is confined after the fork. Linux
only, as ``fork`` and a process's descriptor (``pidfd_open``) are. Imports no NumPy.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import traceback
from importlib import import_module

from quantdiff.run.channel import Message
from quantdiff.run.process import FOLDER, Beside


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
