"""``work`` and ``vectors`` as people meet them: output, status, one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(tmp_path, models.dense())
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(-2, 2, (2, models.DEPTH)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, "model.tflite", "--data", "x.npy", *arguments])


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_work_prints_the_arithmetic_or_one_document() -> None:
    text = invoke("work", "--op", "0", "--element", "1,2")
    assert text.exit_code == 0, text.stderr
    assert "FULLY_CONNECTED #0, sample 1, element [0, 2], on xnnpack" in text.stdout
    assert ": equal" in text.stdout
    result = invoke("work", "--op", "0", "--element", "1,2", "--json", "--runtime", "reference")
    document = json.loads(result.stdout)
    assert (document["schema"], document["runtime"], document["element"]) == ("quantdiff/1", "reference", [1, 2])
    assert document["result"] == document["runtime_gave"]
    products = document["products"]
    assert sum(term["product"] for term in products["terms"]) == products["sum_xw"]
    assert {given["runtime"] for given in document["others"]} == {"xnnpack", "builtin", "reference", "tflm"}


@pytest.mark.parametrize(
    ("element", "op", "words"),
    [("1,2", "7", "no operator #7"), ("5,2", "0", "no sample 5"), ("1;2", "0", "give integers with commas")],
)
@pytest.mark.usefixtures("folder")
def test_work_refuses(element: str, op: str, words: str) -> None:
    result = invoke("work", "--op", op, "--element", element)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr


@pytest.mark.golden
def test_vectors_for_c_come_from_tflm(folder: Path) -> None:
    result = invoke("vectors", "--out", "made", "--format", "c", "--samples", "1", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((folder / "made" / "manifest.json").read_text())
    assert json.loads(result.stdout)["runtime"] == "tflm"
    assert json.loads(result.stdout)["samples"] == 1


@pytest.mark.golden
def test_vectors_for_python_come_from_xnnpack(folder: Path) -> None:
    result = invoke("vectors", "--out", "made")
    assert result.stdout == "made: 1 operators on xnnpack, 2 samples, 1 with accumulators; "\
        "manifest.json says what lies where\n"  # fmt: skip
    assert {path.name for path in (folder / "made").iterdir()} == {"manifest.json", "op_000_fully_connected.npz"}


def test_vectors_leave_nothing_when_the_data_do_not_fit(folder: Path) -> None:
    np.save(folder / "x.npy", np.zeros((2, 9), np.float32))
    result = invoke("vectors", "--out", "made")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "(9) do not fit" in result.stderr
    assert not (folder / "made").exists()
