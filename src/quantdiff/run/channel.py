"""How two processes talk: lines of JSON, and the memory that belongs to each. Imports no NumPy.

Both kinds of channel keep one contract. Memory is given and taken by descriptor: of memory that both sides hold where
one system runs them (``Beside``), and otherwise of a copy, whose bytes follow their line (``InStream``).
"""

from __future__ import annotations

import json
import mmap
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from quantdiff.errors import NoWorker
from quantdiff.files import reserved_descriptor

AT_ONCE = 2**16  # bytes that are read together
MOST = 200  # descriptors in one message; Linux takes 253
LONGEST = 2**24  # bytes of a line in a stream
LARGEST = 2**32  # bytes of arrays that a message in a stream may bring

Message = dict[str, Any]


class Channel(Protocol):
    """One end; one thread at a time.

    Attributes:
        shares: whether both sides hold the same memory.
    """

    shares: bool

    def send(self, message: Message, descriptors: Sequence[int] = (), timeout: float | None = None) -> None:
        """Send a message; the descriptors stay the sender's to close.

        Raises:
            OSError: nobody listens any more, or takes anything for ``timeout`` seconds.
        """
        ...

    def receive(self, timeout: float | None = None) -> tuple[Message, list[int]]:
        """The next message and its descriptors, which are the receiver's to close.

        Raises:
            EOFError: the other side is gone.
            TimeoutError: it said nothing for ``timeout`` seconds.
            NoWorker: what it says is no message.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class InStream:
    """Over the descriptors of a stream: behind each line the bytes of as many blocks as it says.

    One descriptor is a socket's, which is ours alone, so it need not block. Two are standard streams: others may hold
    them too, so they stay as they are, and who sends waits as long as it takes.
    """

    shares = False

    def __init__(self, reads: int, writes: int | None = None) -> None:
        self._reads, self._writes, self._read = reads, reads if writes is None else writes, bytearray()
        if writes is None:
            os.set_blocking(reads, False)

    def send(self, message: Message, descriptors: Sequence[int] = (), timeout: float | None = None) -> None:
        """As ``Channel`` says."""
        sizes = [os.fstat(descriptor).st_size for descriptor in descriptors]
        self._write(memoryview(json.dumps({**message, "sizes": sizes}).encode() + b"\n"), timeout)
        for descriptor, size in zip(descriptors, sizes, strict=True):
            self._write(memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)), timeout)

    def receive(self, timeout: float | None = None) -> tuple[Message, list[int]]:
        """As ``Channel`` says; sizes are checked before there is memory for them."""
        while (at := self._read.find(b"\n")) < 0:
            if len(self._read) > LONGEST:
                raise NoWorker(f"a line of more than {LONGEST:,} bytes")
            self._wait(timeout)
            if not (data := self._some(AT_ONCE)):
                raise EOFError
            self._read += data
        line = bytes(self._read[:at])
        del self._read[: at + 1]
        message, sizes = _parsed(line)
        taken = list[int]()
        try:
            for size in sizes:
                taken.append(reserved_descriptor(size))
                self._fill(memoryview(mmap.mmap(taken[-1], max(1, size)))[:size], timeout)
        except BaseException:
            for descriptor in taken:
                os.close(descriptor)
            raise
        return message, taken

    def _fill(self, room: memoryview, timeout: float | None) -> None:
        known = min(len(self._read), len(room))
        room[:known] = self._read[:known]
        del self._read[:known]
        while known < len(room):
            self._wait(timeout)
            try:
                count = os.readv(self._reads, [room[known:]])
            except BlockingIOError:
                continue
            except ConnectionError:
                count = 0
            if not count:
                raise EOFError
            known += count

    def _some(self, most: int) -> bytes:
        while True:
            try:
                return os.read(self._reads, most)
            except BlockingIOError:
                self._wait(None)
            except ConnectionError:
                return b""

    def _wait(self, timeout: float | None) -> None:
        waiting = select.poll()
        waiting.register(self._reads, select.POLLIN)
        if not waiting.poll(None if timeout is None else 1000 * timeout):
            raise TimeoutError

    def _write(self, data: memoryview, timeout: float | None) -> None:
        waiting = select.poll()
        waiting.register(self._writes, select.POLLOUT)
        while data:
            if not waiting.poll(None if timeout is None else 1000 * timeout):
                raise TimeoutError
            with suppress(BlockingIOError):
                data = data[os.write(self._writes, data) :]

    def close(self) -> None:
        """Let go of it."""
        for descriptor in {self._reads, self._writes}:
            os.close(descriptor)


def _parsed(line: bytes) -> tuple[Message, list[int]]:
    """A line as a message and the sizes of its blocks, in bytes."""
    try:
        message: Any = json.loads(line)
        sizes = message.pop("sizes")
        known = all(isinstance(size, int) and size >= 0 for size in sizes)
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        known = False
    if not known:
        raise NoWorker(repr(line[:80].decode(errors="replace")))
    if len(sizes) > MOST or sum(sizes) > LARGEST:
        raise NoWorker(f"arrays of {sum(sizes):,} bytes")
    return message, sizes


PROTOCOL = 1
"""Of the messages of ``worker``; another number where a version before could misunderstand them."""
