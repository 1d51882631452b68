"""Runs shared by the tests: each model is trained once a session."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from models_of_kinds import KINDS, Kind
from networks import make_network
from quantized_models import Made, make

from quantdiff import api
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.trial import Trial
from quantdiff.references.formats import formats
from quantdiff.run.runtimes import RUNTIMES

for size in ("COLUMNS", "LINES"):  # readline sets them where a terminal started the tests, and children inherit them
    os.environ.pop(size, None)
os.environ.setdefault("QUANTDIFF_ARM64_SEED", "1")  # the share of tests that is drawn: every run draws the same
settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

Runs = Callable[..., tuple[Outcome, Path]]
T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What ``make`` gives for a folder of its own; of several test processes the first one makes it for all."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, value = shared / name, shared / f"{name}.pickle"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not value.exists():
            folder.mkdir()
            value.write_bytes(pickle.dumps(make(folder)))
    made: T = pickle.loads(value.read_bytes())
    return made


LONG = frozenset(Path(__file__).with_name("thorough.txt").read_text(encoding="utf-8").splitlines())
"""Tests of a second and more, by their names with or without parameters, as ``--durations`` tells; thorough, too."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to thorough runs what takes longest: everything else shows a newcomer the same in half the time."""
    for item in items:
        if {item.nodeid, item.nodeid.partition("[")[0]} & LONG:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(autouse=True)
def frameworks_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks are imported once in this process instead of in a child for every file, but where a child is asked."""
    if request.node.get_closest_marker("hosted") is None:
        for name, known in formats().items():
            monkeypatch.setitem(formats(), name, replace(known, framework=None))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A function from a trial's fields to its outcome on all runtimes, and its folder."""

    @cache
    def run_once(model: str = "dense2", quantize: bool = True, bias: bool = True) -> tuple[Outcome, Path]:
        trial = Trial(model=model, quantize=quantize, bias=bias)

        def train(folder: Path) -> tuple[Outcome, Path]:
            return api.run(trial, folder / "out", api.Settings(runtimes=tuple(RUNTIMES))), folder / "out"

        return once(tmp_path_factory, f"run-{model}-{quantize}-{bias}", train)

    return run_once


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """A function from a builder in ``quantized_models`` to the files of its model."""

    @cache
    def make_once(build: Callable[[], object], *, quantized: bool = True) -> Made:
        name = f"made-{build.__module__}-{build.__qualname__}-{quantized}"
        return once(tmp_path_factory, name, lambda folder: make(build, folder, quantized=quantized))

    return make_once


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kind]:
    """A function from a name in ``models_of_kinds.KINDS`` to the files of that model."""
    return cache(lambda name: once(tmp_path_factory, f"kind-{name}", KINDS[name]))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """A function from a name in ``networks.NETWORKS`` to the files of that trained and converted network."""
    return cache(lambda name: once(tmp_path_factory, f"network-{name}", lambda folder: make_network(name, folder)))
