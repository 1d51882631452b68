"""A real ``distributed`` cluster on this machine: the same results, and none lost when a worker is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import cheap_trials as cheap
import pytest

from quantdiff.experiment.workers import NoCluster, carry_out, cluster

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as local:
        yield local.scheduler_address


def test_a_worker_killed_mid_study_costs_nothing(scheduler: str) -> None:
    groups = cheap.groups(60)
    expected = {trial: cheap.result(trial) for group in groups for trial in group}
    with cluster(scheduler) as on:
        victim = on.submit(os.getpid).result()
        found = {}
        for finished in carry_out(cheap.attempt, groups, on):
            assert finished.trial not in found
            assert finished.result is not None, finished.error
            found[finished.trial] = finished.result.result
            if len(found) == 30:
                os.kill(victim, signal.SIGKILL)
        assert on.submit(os.getpid).result() != os.getpid()
    assert found == expected


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdiff.experiment.workers.SECONDS", 1)
    with pytest.raises(NoCluster, match="no scheduler of dask"), cluster("tcp://127.0.0.1:9"):
        pass
