"""``quantdiff explain``: the JSON keys that others rely on, the text for a person, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Runs

from quantdiff.cli import main
from quantdiff.ladder.explanation import MECHANISMS

pytestmark = [pytest.mark.keras, pytest.mark.golden]


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["explain", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def files(runs: Runs) -> list[str | Path]:
    _, out = runs(model="dense2")
    return [out / "qat.h5", out / "model.tflite", "--data", out / "data.npz"]


def test_json_has_the_keys_of_the_design(files: list[str | Path]) -> None:
    status, text, _ = call(*files, "--runtime", "reference", "--runtime", "builtin", "--json")
    document = json.loads(text)
    assert status == 0
    assert document["schema"] == "quantdiff/1"
    assert (document["reference"], document["candidate"], document["runtime"]) == (
        "qat",
        "tflite:reference",
        "reference",
    )
    assert document["closed"] == {"reference": True, "candidate": True}
    assert document["unexplained"] == 0
    assert [rung["mechanism"] for rung in document["rungs"]] == list(MECHANISMS)
    assert {"differing_after", "resolved", "alone"} <= document["rungs"][0].keys()
    assert document["rungs"][0]["differing_after"] == document["differing"] > 0
    assert document["advice"][0]["after"] < document["advice"][0]["before"] == document["differing"]
    assert document["expected"]["simulator"] == document["expected"]["measured"]
    assert [each["runtime"] for each in document["explanations"]] == ["reference", "builtin"]


def test_text_says_what_leads_and_what_helps(files: list[str | Path]) -> None:
    status, text, _ = call(*files, "--runtime", "reference")
    assert status == 0
    assert "come right with biases of the file, int32; none is left unexplained" in " ".join(text.split())
    assert "biases of the reference on the int32 grid:" in text
    assert "first rung = the reference's own output: yes" in text


@pytest.mark.parametrize(
    ("reference", "candidate", "says"),
    [
        ("nope.h5", "model.tflite", "no such model"),
        ("qat.h5", "float.keras", "wants a .tflite as candidate"),
        ("model.tflite", "model.tflite", "name two runtimes"),
        ("other.tflite", "model.tflite", "not the file"),
        ("qat.h5", "cut.tflite", "take a fresh copy"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    runs: Runs, tmp_path: Path, reference: str, candidate: str, says: str
) -> None:
    _, out = runs(model="dense2")
    whole = (out / "model.tflite").read_bytes()
    (tmp_path / "other.tflite").write_bytes(whole + b"\0")
    (tmp_path / "cut.tflite").write_bytes(whole[:2000])
    paths = [tmp_path / n if (tmp_path / n).exists() else out / n for n in (reference, candidate)]
    status, text, error = call(*paths, "--data", out / "data.npz")
    assert status == 2
    assert text == ""
    assert error.count("\n") == 1
    assert says in error
