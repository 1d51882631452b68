"""Runs shared by the tests: each model is trained once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from networks import make_network
from quantized_models import Made, make

from quantdiff import api
from quantdiff.compare.outcome import Outcome
from quantdiff.experiment.trial import Trial
from quantdiff.run.tflite import RUNTIMES

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

Runs = Callable[..., tuple[Outcome, Path]]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A function from a trial's fields to its outcome on all runtimes, and its folder."""

    @cache
    def run_once(model: str = "dense2", quantize: bool = True, bias: bool = True) -> tuple[Outcome, Path]:
        out = tmp_path_factory.mktemp("run") / "out"
        trial = Trial(model=model, quantize=quantize, bias=bias)
        return api.run(trial, out, api.Settings(runtimes=RUNTIMES)), out

    return run_once


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """A function from a builder in ``quantized_models`` to the files of its model."""

    @cache
    def make_once(build: Callable[[], object], *, quantized: bool = True) -> Made:
        return make(build, tmp_path_factory.mktemp("made"), quantized=quantized)

    return make_once


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """A function from a name in ``networks.NETWORKS`` to the files of that trained and converted network."""
    return cache(lambda name: make_network(name, tmp_path_factory.mktemp("network")))
