"""Messages between two processes over a socket: a line of JSON each, and descriptors of memory beside it."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

AT_ONCE = 2**16  # bytes that are read together
MOST = 200  # descriptors in one message; Linux takes 253
NOT_INHERITED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has no such flag

Message = dict[str, Any]


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
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return message, taken

    def close(self) -> None:
        """Let go of it."""
        self._end.close()
