"""Every trial once, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import cheap_trials as cheap
import pytest
from handshake import MEETING, Meeting, reach

from quantdiff.experiment.workers import TRIES, WorkerDied, Workers, carry_out

GROUPS = [(1, 2, 3), (4, 5, 6), (7,)]


@pytest.mark.parametrize("on", [ThreadPoolExecutor(2), Workers(2)], ids=["threads", "workers"])
def test_any_executor_gives_every_trial_once(on: Executor) -> None:
    with on:
        finished = list(carry_out(cheap.double, GROUPS, on))
    assert sorted((each.trial, each.result) for each in finished) == [(n, 2 * n) for n in range(1, 8)]


def test_what_dies_once_is_tried_again_alone() -> None:
    calls: list[tuple[int, ...]] = []

    def dies_once(numbers: Sequence[int]) -> list[int]:
        calls.append(tuple(numbers))
        if len(calls) == 1:
            raise OSError("gone")
        return cheap.double(numbers)

    with ThreadPoolExecutor(1) as on:
        finished = list(carry_out(dies_once, [(1, 2)], on))
    assert calls == [(1, 2), (1,), (2,)]
    assert [(each.trial, each.result) for each in finished] == [(1, 2), (2, 4)]


def test_a_trial_that_always_dies_fails_after_three_tries_and_takes_no_other_along() -> None:
    with Workers(2) as on:
        finished = list(carry_out(cheap.deadly, cheap.groups(6), on))
    assert len(finished) == 12
    (lost,) = (each for each in finished if each.result is None)
    assert (lost.trial.training.seed, lost.trial.condition) == (3, "ptq")
    assert lost.error == f"tried {TRIES} times, WorkerDied: the worker process ended with SIGKILL"


def test_a_worker_lives_on_between_calls_and_is_replaced_when_it_dies() -> None:
    with Workers(1) as on:
        first = on.submit(os.getpid).result()
        assert on.submit(os.getpid).result() == first
        with pytest.raises(WorkerDied, match="SIGKILL"):
            on.submit(os.kill, first, signal.SIGKILL).result()
        assert on.submit(os.getpid).result() not in (first, os.getpid())


def test_a_worker_makes_room_after_some_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdiff.experiment.workers.CALLS_AT_MOST", 2)
    with Workers(1) as on:
        pids = [on.submit(os.getpid).result() for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_an_error_comes_back_as_it_was() -> None:
    with Workers(1) as on, pytest.raises(ZeroDivisionError):
        on.submit(divmod, 1, 0).result()


def interrupted(meeting: Meeting) -> None:
    with Workers(2) as on:
        for _ in range(9):
            on.submit(reach, "works")
        next(meeting.points())
        raise KeyboardInterrupt


def test_leaving_on_an_error_does_not_wait_for_what_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tells the workers to go on, so whoever waits for them waits for ever."""
    with Meeting() as meeting:
        monkeypatch.setenv(MEETING, meeting.environment[MEETING])
        with pytest.raises(KeyboardInterrupt):
            interrupted(meeting)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker")]
