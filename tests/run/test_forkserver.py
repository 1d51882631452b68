"""Forked children are as fresh as started ones, and told apart from nobody by who asks them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_models as models

from quantdiff.run.process import Forked, _servers, end_servers
from quantdiff.run.runner import RuntimeProcess

pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="children are forked on Linux only"),
]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file under a name that means something in its folder only."""
    monkeypatch.chdir(tmp_path)
    models.save(tmp_path, models.dense(), "model.tflite")
    yield Path("model.tflite")
    end_servers()


def child_of(process: RuntimeProcess) -> Forked:
    child = process.talk.process.child
    assert isinstance(child, Forked)
    return child


def loaded(model: Path) -> int:
    """Who ran it, and was asked for nothing more."""
    with RuntimeProcess("reference") as process:
        process.load(model)
        return child_of(process).pid


def test_each_is_another_process_in_the_folder_and_environment_of_now(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(model) != loaded(model)
    server = _servers["quantdiff.run.worker"]
    monkeypatch.setenv("ANOTHER", "1")
    with RuntimeProcess("reference") as process:
        pid = child_of(process).pid
        process.load(model)
        assert Path(f"/proc/{pid}/cwd").readlink() == Path.cwd()
        said = Path(f"/proc/{pid}/fd/1").readlink(), Path(f"/proc/{pid}/fd/2").readlink()
        assert said[0] == said[1] != Path(os.devnull)
    assert _servers["quantdiff.run.worker"] is not server


def test_how_it_ended_is_told(model: Path) -> None:
    with RuntimeProcess("reference") as process:
        process.load(model)
        child = child_of(process)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGSEGV)
        assert process.talk.process.ending() == "SIGSEGV"
        assert child.poll() == -signal.SIGSEGV


def test_when_the_one_that_forks_is_gone_others_go_on(model: Path) -> None:
    with RuntimeProcess("reference") as process:
        process.load(model)
        _servers["quantdiff.run.worker"]._server.kill()
        _servers["quantdiff.run.worker"]._server.wait()
        process.load(model)  # another file: another child, which has to be started
        assert not isinstance(process.talk.process.child, Forked)
        loaded(model)
