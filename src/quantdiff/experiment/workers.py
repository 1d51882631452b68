"""Trials on any ``concurrent.futures.Executor``: worker processes that live long, or a ``distributed`` cluster.

What an executor does not give back is tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.lazy import require

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


P = ParamSpec("P")

# Never fork: TensorFlow's threads do not survive it.
SPAWN = multiprocessing.get_context("spawn")
CALLS_AT_MOST = 50  # TensorFlow keeps some 20 to 80 MB of every training; then a fresh process takes over


class WorkerDied(Exception):
    """A worker process ended before it answered."""


class Workers(ThreadPoolExecutor):
    """``jobs`` processes, each behind a thread of this one.

    ``ProcessPoolExecutor`` gives up altogether when one of its processes dies; here only the call that the process
    had fails, with ``WorkerDied``, and the next call of its thread starts another one. Leaving the block on an
    error, Ctrl-C included, ends the processes at once. They also end when this process does, however it ends.
    """

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs, thread_name_prefix="worker")
        self._mine = threading.local()
        self._lock, self._alive, self._closed = threading.Lock(), set[_Worker](), False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As ``Executor.submit``; function, arguments and result are pickled."""
        return super().submit(self._in_worker, fn, args, kwargs)

    def _in_worker(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        worker = getattr(self._mine, "worker", None) or self._hire()
        try:
            answer: T = worker.call(fn, args, kwargs)
        except WorkerDied:
            self._dismiss(worker)
            raise
        if worker.calls >= CALLS_AT_MOST:
            self._dismiss(worker)
        return answer

    def _dismiss(self, worker: _Worker) -> None:
        self._mine.worker = None
        with self._lock:
            self._alive.discard(worker)
        worker.end()

    def _hire(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise WorkerDied("stopped")
            self._mine.worker = worker = _Worker()
            self._alive.add(worker)
        return worker

    def __exit__(self, *error: object) -> bool | None:
        if error[0] is not None:
            self.shutdown(wait=False, cancel_futures=True)
            self._end()
        self.shutdown(wait=True)
        self._end()
        return None

    def _end(self) -> None:
        with self._lock:
            self._closed = True
            workers = tuple(self._alive)
        for worker in workers:
            worker.end()


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is seen here when the process dies
        self.calls = 0

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The answer of the process.

        Raises:
            WorkerDied: there will be none.
        """
        self.calls += 1
        try:
            self.pipe.send((fn, args, kwargs))
            done, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise WorkerDied(f"the worker process ended with {_ending(self.process.exitcode)}") from None
        if not done:
            raise answer
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection) -> None:
    """Answer calls until the other side is gone."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # as in the parent: what a result needs stands in the result
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            call = pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        try:
            fn, args, kwargs = pickle.loads(call)
            answer = pickle.dumps((True, fn(*args, **kwargs)))
        except Exception as error:
            answer = pickle.dumps((False, error))
        pipe.send_bytes(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"


SECONDS = 20  # to find the scheduler


class NoCluster(QuantdiffError):
    """The scheduler does not answer."""


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The executor of the cluster whose scheduler is at ``address``, such as ``tcp://host:8786``.

    Raises:
        MissingExtra: the extra ``[dask]`` is not installed.
        NoCluster: nobody answers there.
    """
    distributed = require("distributed", extra="dask")
    try:
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = reason_of(error)
        raise NoCluster(f"{address}: no scheduler of dask.distributed answers there ({reason})") from error
    with client, client.get_executor() as executor:
        yield executor
