"""A folder of results is complete or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantdiff.report.folder import CannotWrite, add_to_summary, staged


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
