"""Folders for a while: gone after the block, and after a death by the next start; never while their maker lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quantdiff.files import PREFIX, own_temporary_files, scratch
from quantdiff.report.folder import staged

HOLDS = """
import sys, time
from pathlib import Path
from quantdiff.files import scratch
with scratch(sys.argv[1], Path(sys.argv[2])) as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("prefix", [PREFIX, ".unfinished-"])
def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path, prefix: str) -> None:
    (tmp_path / f"{prefix}file").write_text("no folder of ours")
    with subprocess.Popen([sys.executable, "-c", HOLDS, prefix, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with scratch(prefix, tmp_path) as mine:
            assert (theirs / "half").exists()  # its maker lives
        assert not mine.exists()
        os.kill(other.pid, signal.SIGKILL)
    assert (theirs / "half").exists()
    if prefix == PREFIX:
        with scratch(prefix, tmp_path):
            assert not theirs.exists()
    else:
        with staged(tmp_path) as folder:
            (folder / "result").write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} - {"result"} == {f"{prefix}file"}


def test_temporary_files_of_this_process_and_its_children_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    with own_temporary_files():
        kept = tempfile.mkstemp()[1]
        child = "import tempfile; tempfile.mkstemp(); print(tempfile.gettempdir())"
        seen = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
        assert Path(seen.strip()).parent == Path(kept).parents[1] == tmp_path
    assert not [*tmp_path.iterdir()]
    assert tempfile.gettempdir() == str(tmp_path)
    assert "TMPDIR" not in os.environ


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with own_temporary_files():
        assert tempfile.tempdir == str(tmp_path / "nowhere")
