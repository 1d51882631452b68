"""A test and the processes that it started meet at points: each says where it is, and goes on when it is told to.

``Meeting`` is the test's side. A process that finds the address in ``QUANTDIFF_MEETING`` calls ``reach``.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Client, Connection, Listener

MEETING = "QUANTDIFF_MEETING"
PATIENCE = 300  # seconds until a test gives up on a process that neither comes nor ends; no test waits for them to pass
ENDED = "ended"


@cache
def _line() -> Connection:
    return Client(os.environ[MEETING])


def reach(point: str) -> None:
    """Tell the test where this process is, and wait until it may go on."""
    _line().send((os.getpid(), point))
    _line().recv()


class Meeting:
    """Where processes report; a context manager. ``environment`` is what they have to be given."""

    def __init__(self) -> None:
        self._listener = Listener(backlog=16)
        self.environment = {**os.environ, MEETING: str(self._listener.address)}
        self._said: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._lines: dict[int, Connection] = {}
        self._open, self._thread = True, threading.Thread(target=self._accept)

    def __enter__(self) -> Meeting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        Client(self._listener.address).close()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while (line := self._listener.accept()) and self._open:
            threading.Thread(target=self._listen, args=(line,), daemon=True).start()

    def _listen(self, line: Connection) -> None:
        pid = 0
        try:
            while True:
                pid, point = line.recv()
                self._lines[pid] = line
                self._said.put((pid, point))
        except (EOFError, OSError):  # the system closes it, however the process ends
            if pid:
                self._said.put((pid, ENDED))

    def points(self) -> Iterator[tuple[int, str]]:
        """Who waits at which point, or has ``ENDED``; whoever waits goes on when the next one is asked for."""
        while True:
            pid, point = self._said.get(timeout=PATIENCE)
            yield pid, point
            if point != ENDED:
                self.go(pid)

    def go(self, pid: int) -> None:
        """Let a process go on, if it is still there."""
        try:
            self._lines[pid].send(None)
        except OSError:
            return
