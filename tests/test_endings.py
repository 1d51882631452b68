"""A command that is ended before its time leaves no process, no memory and no file behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as models

from quantdiff.files import PREFIX
from quantdiff.load.npz import LARGE

QUANTDIFF = Path(sys.executable).parent / "quantdiff"
PATIENCE = 40  # seconds, for a busy machine

CUT_SHORT = """
import os, sys
from pathlib import Path
from quantdiff.load.data import load_batch
from quantdiff.load.tflite import load_tflite
path = sys.argv[1]
if path.endswith(".tflite"):
    array = max((t.data for t in load_tflite(path).main.tensors if t.data is not None), key=lambda a: a.nbytes)
else:
    array = load_batch(Path(path)).arrays["x"]
os.truncate(path, 0)
print(array.sum())
"""


def stat(pid: int | str) -> list[str]:
    """What stands behind the name in ``/proc/PID/stat``; state Z where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z"] + ["0"] * 50


def children(pid: int) -> list[int]:
    """And theirs."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if stat(path.name)[1] == str(pid)]
    return found + [each for child in found for each in children(child)]


def lives(pid: int) -> bool:
    return stat(pid)[0] not in "ZX"


def in_shared_memory(pid: int) -> bool:
    """Whether it holds memory that has a name, which would stay."""
    return "/dev/shm/" in Path(f"/proc/{pid}/maps").read_text()


def seconds(pid: int) -> float:
    """Processor time."""
    return (int(stat(pid)[11]) + int(stat(pid)[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.golden
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGKILL,
        *(pytest.param(n, marks=pytest.mark.thorough) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
@pytest.mark.parametrize(
    ("runtime", "moment"), [("reference", "starts"), ("reference", "loads"), ("reference", "runs"), ("tflm", "runs")]
)
def test_nothing_is_left(tmp_path: Path, number: signal.Signals, runtime: str, moment: str) -> None:
    """While the command starts, its child loads the model, and the model runs, for TFLM without Python's lock."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    models.save(tmp_path, models.hangs(), "hangs.tflite")
    command = [str(QUANTDIFF), "verify", "hangs.tflite", "--samples", "1", "--runtime", runtime]
    surroundings = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: [*temporary.glob(f"{PREFIX}*")])  # Python tries the folder with a file of its own before
            if moment != "starts":
                wait_for(lambda: children(process.pid))
            if moment == "runs":
                wait_for(lambda: any(seconds(child) > 3 for child in children(process.pid)))  # an import takes less
            started = children(process.pid)
            named = [pid for pid in (process.pid, *started) if in_shared_memory(pid)]
            process.send_signal(number)
            said = process.communicate(timeout=PATIENCE)[1]
        finally:
            process.kill()
    wait_for(lambda: not any(map(lives, started)))
    assert not named
    if number == signal.SIGKILL:
        subprocess.run([QUANTDIFF, "inspect", "hangs.tflite"], cwd=tmp_path, env=surroundings, check=True)
    else:
        assert process.returncode == 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        assert said == "error: interrupted; nothing half-written remains\n"
    assert not [*temporary.iterdir()]


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.tflite"])
def test_a_file_that_is_cut_short_is_one_line(tmp_path: Path, name: str) -> None:
    """Not only of a command: the functions of Python map files, too."""
    path = tmp_path / name
    if path.suffix == ".tflite":
        models.save(tmp_path, models.float_dense(), name)
    elif path.suffix == ".npy":
        np.save(path, np.ones(2**20))
    else:
        np.savez(path, x=np.ones(LARGE // 8 + 1))
    ended = subprocess.run([sys.executable, "-c", CUT_SHORT, path], check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "error: a file was cut short while it was read; run the command again when nobody writes to it\n"
    )
