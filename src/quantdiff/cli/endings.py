"""How a command ends before its time: by Ctrl-C, by SIGTERM as CI and ``docker stop`` send it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: as Ctrl-C, so that every block is left and nothing half-written remains."""


def status_of(end: KeyboardInterrupt) -> int:
    """The exit status as shells have it: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)


INTERRUPTED = status_of(KeyboardInterrupt())
"""What a command returns that was broken off and has shown the best so far."""


@contextmanager
def tidy_endings() -> Iterator[list[KeyboardInterrupt]]:
    """End children, and leave every block, when a signal says that this is the end; temporary files go with it.

    Gives the ends that came, for commands that go on to show what they have.
    """
    from quantdiff.run.scratch import own_temporary_files

    ends = list[KeyboardInterrupt]()
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(_signals(ends))
        stack.enter_context(own_temporary_files())
        yield ends


@contextmanager
def _signals(ends: list[KeyboardInterrupt]) -> Iterator[None]:
    from quantdiff.run import process

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        process.end_all()
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # once is enough: it would break off what clears up
        ends.append(KeyboardInterrupt() if number == signal.SIGINT else Terminated())
        raise ends[-1]

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        process.begin_again()
