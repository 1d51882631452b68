"""A FIFO, a device, a socket or a folder where a file is wanted: one line at once, and nothing is replaced."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from quantdiff.files import destination, open_file, read_file, what_is


@pytest.fixture
def strange(tmp_path: Path) -> dict[str, Path]:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    kinds = {"fifo": "a FIFO", "link": "a FIFO", "socket": "a socket", "folder": "a folder"}
    return {kind: tmp_path / name for name, kind in kinds.items()} | {"a device": Path("/dev/zero")}


def test_only_regular_files_are_opened(strange: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in strange.items():
        assert what_is(path) == kind
        for touch in (open_file, destination):
            with pytest.raises(OSError, match=f"is {kind}, not a file"):
                touch(path)
    for name in ("loop", "nothing", "a" * 300, "a\0b"):
        with pytest.raises(OSError, match=r"symbolic links|No such file|too long|null byte"):
            open_file(tmp_path / name)


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    assert read_file(tmp_path / "f", 10) == bytes(10)
    with pytest.raises(OSError, match="holds more than 9 bytes"):
        read_file(tmp_path / "f", 9)
    assert read_file(tmp_path / "f", 2**50) == bytes(10)  # no memory is taken for what is not there


def test_a_link_is_followed_to_where_a_file_may_stand(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("later")
    assert destination(tmp_path / "link") == tmp_path / "real"
    assert destination(tmp_path / "dangling") == tmp_path / "later"
    assert destination(tmp_path / "new") == tmp_path / "new"
