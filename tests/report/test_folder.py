"""A folder of results is complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from quantdiff.report.folder import CannotWrite, add_to_summary, staged
from quantdiff.report.html.document import Page


def fill_and_fail(out: Path) -> None:
    with staged(out) as folder:
        (folder / "model.tflite").write_bytes(b"half")
        raise KeyboardInterrupt


def test_files_arrive_together(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with staged(out) as folder:
        (folder / "one").write_text("1")
        assert not (out / "one").exists()
    assert [file.name for file in out.iterdir()] == ["one"]


def test_nothing_half_written_remains(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"whole")
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(tmp_path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"whole"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(CannotWrite, match="choose another --out"), staged(tmp_path / "out"):
        pass


def test_the_summary_grows_and_never_mixes_columns(tmp_path: Path) -> None:
    for row in ("1,2\n", "3,4\n"):
        with staged(tmp_path) as folder:
            add_to_summary(folder, tmp_path, "a,b\n", row)
    assert (tmp_path / "summary.csv").read_text() == "a,b\n1,2\n3,4\n"
    with pytest.raises(CannotWrite, match="other columns"):
        add_to_summary(tmp_path, tmp_path, "a,b,c\n", "5,6,7\n")


def write_two(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).touch()


@pytest.mark.parametrize("what", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, what: str) -> None:
    out, place = tmp_path / "out", tmp_path / "out" / "b"
    out.mkdir()
    (tmp_path / "kept").write_text("kept")
    if what == "link":
        place.symlink_to(tmp_path / "kept")
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(CannotWrite, match="which is not replaced by a file"), staged(out) as folder:
        write_two(folder)
    assert sorted(path.name for path in out.iterdir()) == ["b"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_page_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "page.html").symlink_to("real/later.html")
    Page("<p>").save(tmp_path / "page.html")
    assert (tmp_path / "page.html").is_symlink()
    assert (tmp_path / "real" / "later.html").read_text() == "<p>"


def test_a_disk_that_is_full_names_the_place(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "No space left"), OSError("800 requested and 0 written")):
        with (
            pytest.raises(CannotWrite, match=rf"^{tmp_path}/out: cannot be written \((No space|800)"),
            staged(tmp_path / "out"),
        ):
            raise error
    with pytest.raises(OSError, match="open files"), staged(tmp_path / "out"):
        raise OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(CannotWrite, match="too long"), staged(tmp_path / "out") as folder:
        (folder / ("a" * 300)).touch()
    assert not any(tmp_path.iterdir())
