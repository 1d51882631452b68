"""The page's ten lines are run, on a layer that is full of ties, and what it says about the wrong formula holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models as models
from written_models import Op, T, write_tflite

from quantdiff.load.data import load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import RuntimeProcess

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "recompute-a-layer.md"
DEPTH, UNITS, SAMPLES = 16, 5, 400


def digits(folder: Path) -> Path:
    """A reshape and a dense layer without bias, its scales powers of two."""
    rng = np.random.default_rng(3)
    tensors = [
        T("x", (1, 4, 4), scale=2.0**-7, zero_point=-128, shape_signature=(-1, 4, 4)),
        T("shape", (2,), "int32", data=[-1, DEPTH]),
        T("flat", (1, DEPTH), scale=2.0**-7, zero_point=-128, shape_signature=(-1, DEPTH)),
        T("w", (UNITS, DEPTH), scale=2.0**-7, data=rng.integers(-127, 128, (UNITS, DEPTH))),
        T("y", (1, UNITS), scale=2.0**-4, zero_point=3, shape_signature=(-1, UNITS)),
    ]
    operators = [
        Op("RESHAPE", ["x", "shape"], ["flat"]),
        Op("FULLY_CONNECTED", ["flat", "w", None], ["y"], models.NONE, version=4),
    ]
    (folder / "digits").mkdir()
    np.savez(folder / "digits" / "data.npz", allow_pickle=False, x=rng.uniform(0, 2, (SAMPLES, 4, 4)).astype("f4"))
    return models.save(folder / "digits", write_tflite(tensors, operators, ["x"], ["y"]))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's lines leave behind."""
    digits(tmp_path)
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len([line for line in lines.splitlines() if line]) == 10
    names: dict[str, Any] = {}
    exec(compile(lines, str(PAGE), "exec"), names)
    return names


@pytest.mark.golden
def test_ten_lines_equal_the_reference_kernels(example: dict[str, Any]) -> None:
    model = load_tflite(Path("digits/model.tflite"))
    with RuntimeProcess("reference") as process:
        (output,) = trace_tflite(model, load_batch(Path("digits/data.npz")), process).outputs
    assert output.array.dtype == example["q_y"].dtype
    np.testing.assert_array_equal(output.array, example["q_y"])
    halves = example["acc"] * 2.0**-10 % 1 == 0.5
    assert halves.sum() > 0
    assert len(np.unique(example["q_y"])) > 50


def test_the_wrong_formula_saturates_and_wraps(example: dict[str, Any]) -> None:
    acc: Array = example["acc"]
    added = example["z_y"] + example["s_x"] * example["s_w"] / example["s_y"] + acc
    assert np.mean(np.abs(added) > 128) > 0.95
    product = example["q_x"] @ example["w"].data.T
    assert product.dtype == np.int8
    assert np.mean(product != example["q_x"].astype(np.int32) @ example["w"].data.T.astype(np.int32)) > 0.95
