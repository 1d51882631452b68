"""``params`` as people meet it: the table, the document, one clear line for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from quantized_models import Made, convolutions
from test_cli import invoke, trouble
from written_models import Op, T, write_tflite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(tmp_path, models.dense(), "int8.tflite")
    models.save(tmp_path, models.ABORTS, "aborts.tflite")
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=np.ones((3, models.DEPTH), np.float32))
    return tmp_path


@pytest.mark.golden
def test_a_file_alone_needs_no_tensorflow(folder: Path) -> None:
    result = invoke("params", folder / "int8.tflite", "--data", folder / "data.npz")
    assert result.exit_code == 0, result.output
    assert "x/input_min" in result.stdout
    assert "w/kernel_max" in result.stdout
    document = json.loads(invoke("params", folder / "int8.tflite", "--json").stdout)
    rows = {row["layer"]: row for row in document["rows"]}
    assert rows["w"]["file"]["scale"] == [float(np.float32(0.003))]
    assert rows["w"]["file"]["high"] == [127 * float(np.float32(0.003))]
    assert document["schema"] == "quantdiff/1"


@pytest.mark.keras
@pytest.mark.golden
def test_a_pair(made: Callable[..., Made]) -> None:
    keras, tflite, data = made(convolutions).pair
    result = invoke("params", keras, tflite, "--data", data)
    assert result.exit_code == 0, result.output
    for word in ("× batch norm", "by hand", "8 channels", "nudge only", "folded batch norm", "not settled"):
        assert word in result.stdout
    document = json.loads(invoke("params", keras, tflite, "--json").stdout)
    assert {"rows", "unaligned", "engines", "artifacts", "versions"} <= set(document)
    assert all(reason["code"] for row in document["rows"] for reason in row["reasons"])


def test_bad_input_is_one_line(folder: Path) -> None:
    trouble(invoke("params"), "--model")
    trouble(invoke("params", folder / "int8.tflite", "--model", "dense2"), "without files")
    trouble(invoke("params", folder / "none.tflite"), "none.tflite")
    trouble(invoke("params", folder / "data.npz"), "data.npz")
    trouble(invoke("params", folder / "int8.tflite", "--data", folder / "none.npz"), "none.npz")
    trouble(invoke("params", "--model", "dense0"), "dense0")


@pytest.mark.golden
def test_names_that_look_like_markup_stay_text(tmp_path: Path) -> None:
    tensors = [T("[/x]", (1, 3), scale=0.5), T("[bold red]y", (1, 3), scale=0.25)]
    content = write_tflite(tensors, [Op("QUANTIZE", ["[/x]"], ["[bold red]y"])], ["[/x]"], ["[bold red]y"])
    result = invoke("params", models.save(tmp_path, content))
    assert result.exit_code == 0, result.output
    assert "[bold red]y/output_min" in result.stdout


def test_a_runtime_that_dies_is_one_line(folder: Path) -> None:
    np.savez(folder / "two.npz", allow_pickle=False, a=np.ones((3, 4), np.float32), b=np.ones((3, 4), np.float32))
    trouble(invoke("params", folder / "aborts.tflite", "--data", folder / "two.npz"), "aborts.tflite")
