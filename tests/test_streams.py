"""Streams that are closed, full or no longer read: never status 1, which means "different"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff.cli import main
from quantdiff.errors import BadModel
from quantdiff.references.formats import open_references

QUANTDIFF = f"{sys.executable} -c 'from quantdiff.cli import console; console()'"
DIFF = "diff m.tflite m.tflite --data d.npz"
COMMANDS = ("inspect m.tflite", "lint m.tflite", "params m.tflite", f"{DIFF} --json", "--help")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(tmp_path, models.dense(), "m.tflite")
    np.savez(tmp_path / "d.npz", allow_pickle=False, x=np.ones((4, models.DEPTH), np.float32))
    return tmp_path


def shell(folder: Path, line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("quantdiff", QUANTDIFF)],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_nobody_gets_is_trouble(folder: Path, command: str) -> None:
    status, said = shell(folder, f"quantdiff {command} >&-")
    assert (status, said) == (2, "error: standard output: Bad file descriptor; open it, or redirect it\n")
    if Path("/dev/full").exists():
        status, said = shell(folder, f"quantdiff {command} >/dev/full")
        assert (status, said) == (2, "error: standard output: No space left on device; make room there\n")
    assert shell(folder, f"quantdiff {command} | true") in [(141, ""), (0, "")]  # 0: it was written before that ended


def test_a_closed_standard_error_changes_no_status(folder: Path) -> None:
    assert shell(folder, "quantdiff inspect none.tflite 2>&-")[0] == 2
    assert shell(folder, "quantdiff inspect none.tflite 2>/dev/full")[0] == 2
    assert shell(folder, "quantdiff inspect none.tflite <&- >&- 2>&-")[0] == 2
    assert shell(folder, "quantdiff inspect m.tflite <&- 2>&-")[0] == 0


def test_too_few_open_files_are_one_line(folder: Path) -> None:
    status, said = shell(folder, "ulimit -n 12; quantdiff diff m.tflite m.tflite --data d.npz")
    assert (status, said) == (2, "error: the system refuses: Too many open files; allow more open files: ulimit -n\n")


def test_warnings_about_values_stay_inside(folder: Path) -> None:
    noisy = "command.main.callback = lambda: numpy.log(numpy.zeros(1))"
    code = f"import numpy; from quantdiff.cli import command, console; {noisy}; console()"
    for options, words in (((), ""), (("-W", "default"), "RuntimeWarning")):
        line = [sys.executable, *options, "-c", code, "inspect", "m.tflite"]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert words in done.stderr
        assert bool(words) == bool(done.stderr)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
@pytest.mark.parametrize("option", ["--tolerance", "--timeout"])
def test_numbers_that_measure_nothing(folder: Path, option: str, number: str) -> None:
    result = invoke("diff", folder / "m.tflite", folder / "m.tflite", "--data", folder / "d.npz", option, number)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr


SUFFIXES = ("tflite", "keras", "h5", "npz", "toml", "py", "db")
STRANGE = (
    "inspect F",
    "lint F",
    "lint F m.tflite",
    "params F m.tflite",
    "params m.tflite --data F",
    "diff F m.tflite --data d.npz",
    "diff m.tflite F --data d.npz",
    "diff m.tflite m.tflite --data F",
    "diff m.tflite m.tflite --data d.npz --html F",
    "explain m.tflite F --data d.npz",
    "overlay m.tflite F --data d.npz --out o",
    "overlay m.tflite m.tflite --data d.npz --out F",
    "verify F",
    "verify m.tflite --data F",
    "vectors F --data d.npz --out o",
    "vectors m.tflite --data F --out o",
    "vectors m.tflite --data d.npz --out F",
    "work F --data d.npz --op 0 --element 0,0",
    "sweep F",
    "sweep --models dense1 --data F",
    "sweep --models dense1 --store F",
    "sweep --model F:build",
    "report F",
    "run --data F",
    "run --out F",
)


@pytest.mark.parametrize("line", STRANGE)
@pytest.mark.parametrize("name", [*(f"fifo.{suffix}" for suffix in SUFFIXES), "/dev/zero"])
def test_no_argument_waits_for_a_fifo_or_reads_a_device(
    folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str
) -> None:
    monkeypatch.chdir(folder)
    if not name.startswith("/"):
        os.mkfifo(name)
    before = Path(name).stat()
    result = invoke(*(word.replace("F", name) if word.startswith("F") else word for word in line.split()))
    assert result.exit_code == 2, result.output
    assert "unexpected" not in result.stderr
    assert Path(name).stat().st_mode == before.st_mode


@pytest.mark.parametrize("place", ["saved_model.pb", "variables/variables.index", "assets/vocabulary.txt"])
def test_a_fifo_in_a_saved_model_is_found_before_tensorflow_opens_it(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "saved"
    (folder / place).parent.mkdir(parents=True)
    os.mkfifo(folder / place)
    with pytest.raises(BadModel, match=f"{place}: is a FIFO, which no SavedModel has"):
        open_references(folder)
