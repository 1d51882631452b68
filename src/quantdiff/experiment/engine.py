"""Carry trials out on any ``concurrent.futures.Executor``; what an executor does not give back is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
TRIES = 3


@dataclass(frozen=True, slots=True)
class Finished(Generic[T, R]):
    """A trial and what came of it; without a result, why every try of it was lost."""

    trial: T
    result: R | None
    error: str = ""


def carry_out(
    run: Callable[[Sequence[T]], Sequence[R]], groups: Iterable[Sequence[T]], on: Executor
) -> Iterator[Finished[T, R]]:
    """Every trial of every group with its result, as they come.

    ``run`` takes a group and gives a result for each of its trials; that it raises nothing is its own affair, so an
    exception is the executor's: the worker died. The trials of that group are then tried again, each alone, so that
    one that kills its worker takes no other along; after three tries it counts as finished, with the error.
    """
    replies: SimpleQueue[Future[Sequence[R]]] = SimpleQueue()
    waiting: dict[Future[Sequence[R]], tuple[Sequence[T], int]] = {}

    def submit(group: Sequence[T], tries: int) -> None:
        future = on.submit(run, group)
        waiting[future] = group, tries
        future.add_done_callback(replies.put)

    try:
        for group in groups:
            submit(tuple(group), 1)
        while waiting:
            future = replies.get()
            group, tries = waiting.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                pairs = zip(group, future.result(), strict=True)
                yield from (Finished(trial, result) for trial, result in pairs)
            elif tries < TRIES:
                for trial in group:
                    submit((trial,), tries + 1)
            else:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                yield from (Finished(trial, None, f"tried {tries} times, {reason}") for trial in group)
    finally:  # nobody listens any more
        for future in waiting:
            future.cancel()
