"""``quantdiff explain``: the JSON keys that others rely on, the text for a person, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Runs
from float_pairs import dense, write_pair

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
    assert sum(document["shares"].values()) == pytest.approx(1)
    assert document["leading"] == "bias_to_int32" == document["frontier"][0]["mechanism"]
    assert {"operator", "op", "layer", "mechanism", "share", "power"} <= document["frontier"][0].keys()
    assert document["rewritten"]["max_steps"] >= 0 == document["rewritten"]["flips"]
    assert {"tensor", "reference", "how", "steps", "order"} == document["matching"][0].keys()
    assert document["saturated"].keys() == {"share", "max_steps"}
    best = document["advice"][0]
    assert best["mechanism"] == "bias_to_int32"
    assert best["then"]["rms_steps"] < best["now"]["rms_steps"]
    assert {"text", "before", "after"} <= best.keys()
    assert document["expected"]["simulator"] == document["expected"]["measured"]
    assert [each["runtime"] for each in document["explanations"]] == ["reference", "builtin"]


def test_text_says_what_leads_and_what_helps(files: list[str | Path]) -> None:
    status, text, _ = call(*files, "--runtime", "reference")
    assert status == 0
    words = " ".join(text.split())
    assert "Of the error, 100% is biases" in words
    assert "all of it accounted for, to the bit on reference" in words
    assert "biases on the int32 grid already in the reference:" in text
    assert "all items add up to runtime minus reference: yes" in text


def test_one_output_has_a_list_that_adds_up(files: list[str | Path]) -> None:
    status, text, _ = call(*files, "--sample", "3", "--output", "7", "--json")
    signed = json.loads(text)["signed"]
    assert status == 0
    assert {"operator", "op", "layer", "mechanism", "steps"} == signed[0].keys()
    status, _, error = call(*files, "--sample", "3")
    assert status == 2
    assert error == "error: --sample and --output belong together\n"


def test_a_float_file_needs_no_framework(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, dense())
    np.savez(tmp_path / "data.npz", allow_pickle=False, **pair.batch.arrays)
    code = (
        "import sys; from quantdiff.cli import main\n"
        f"main(['explain', {str(pair.reference)!r}, {str(pair.candidate)!r}, '--data', {str(tmp_path / 'data.npz')!r}, "
        "'--json'], standalone_mode=False)\n"
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["closed"] == {"reference": True, "candidate": True}
    assert document["rewritten"]["max_steps"] < 1e-3


@pytest.mark.parametrize(
    ("reference", "candidate", "says"),
    [
        ("nope.h5", "model.tflite", "no such model"),
        ("qat.h5", "float.keras", "wants a .tflite as candidate"),
        ("model.tflite", "model.tflite", "name two runtimes"),
        ("qat.h5", "cut.tflite", "take a fresh copy"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    runs: Runs, tmp_path: Path, reference: str, candidate: str, says: str
) -> None:
    _, out = runs(model="dense2")
    whole = (out / "model.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[:2000])
    paths = [tmp_path / n if (tmp_path / n).exists() else out / n for n in (reference, candidate)]
    status, text, error = call(*paths, "--data", out / "data.npz")
    assert status == 2
    assert text == ""
    assert error.count("\n") == 1
    assert says in error
