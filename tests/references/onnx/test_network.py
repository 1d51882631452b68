"""A network with depthwise blocks and a flatten, through every command beside what converters made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnx_models import N, floats, model, save
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.cli import main
from quantdiff.errors import MissingExtra
from quantdiff.load.data import load_batch, make_batch
from quantdiff.references.onnx.reference import open_onnx

pytestmark = pytest.mark.golden
FILES = Path(__file__).parents[2] / "torch_files"
DATA = FILES / "data.npz"
HOW = api.Settings(runtimes=("reference",))
REFERENCES = ("net.onnx", "net_norms.onnx", "net_qdq.onnx")
CANDIDATES = ("net_float.tflite", "net_int8_pt2e.tflite", "net_int8_average.tflite")


@pytest.mark.parametrize("name", ["net.onnx", "net_norms.onnx"])
def test_the_float_file_is_the_same_model(name: str) -> None:
    outcome = api.diff(FILES / name, FILES / "net_float.tflite", DATA, HOW, layers=True)
    (comparison,) = outcome.comparisons
    assert comparison.figures.max_abs_error < 1e-4
    assert outcome.accuracy == {"float": 1.0, "tflite:reference": 1.0}
    (report,) = outcome.layers
    assert report.only_reference == report.only_candidate == ()
    assert len(report.layers) == 13
    assert min(row.figures.sqnr_db for row in report.layers) > 100
    assert min(row.local.sqnr_db for row in report.layers if row.local is not None) > 100


def test_an_int8_tensor_is_the_relu_and_not_the_sums_before_it() -> None:
    """Clipped to the file's integers, both are equal."""
    plain, int8 = (
        api.diff(FILES / "net.onnx", FILES / name, DATA, HOW, layers=True).layers[0].layers for name in CANDIDATES[:2]
    )
    assert [row.reference for row in int8] == [row.reference for row in plain]
    assert min(row.figures.sqnr_db for row in int8) > 25


@pytest.mark.parametrize("candidate", CANDIDATES[1:])
@pytest.mark.parametrize("name", REFERENCES)
def test_the_account_closes(name: str, candidate: str) -> None:
    (explanation,) = api.explain(FILES / name, FILES / candidate, DATA, HOW).found
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.unexplained == 0
    assert explanation.real is not None
    assert explanation.real.max_steps < 1e-3
    if name != "net_qdq.onnx":  # it rounds where the file does not
        assert explanation.rewritten is not None
        assert explanation.rewritten.max_steps < 1e-3


def test_averaged_ranges_are_told_by_what_they_clip() -> None:
    (explanation,) = api.explain(FILES / "net.onnx", FILES / "net_int8_average.tflite", DATA, HOW).found
    assert explanation.leading == "activation_clipping"
    result = run("explain", "net.onnx", "net_int8_average.tflite", "--runtime", "reference")
    assert "ranges were averaged over them (litert-quantizer's default)" in result.stdout.replace("\n", " ")


def test_ranges_that_end_inside_of_the_data_are_told() -> None:
    averaged, kept = (
        api.params(FILES / "net.onnx", FILES / f"net_int8_{name}.tflite", DATA, HOW) for name in ("average", "pt2e")
    )
    (note,) = (note for note in averaged.notes if "moving average" in note)
    assert "end well inside of what the data give at " in note
    assert not any("moving average" in note for note in kept.notes)


def test_layers_are_the_nodes_and_every_kernel_is_found() -> None:
    answer = api.params(FILES / "net.onnx", FILES / "net_int8_pt2e.tflite", DATA, HOW)
    kernels = {row.layer for row in answer.rows if row.role == "kernel"}
    blocks = {f"/{b}/{part}/{part}.0/Conv" for b in ("first", "second") for part in ("exp", "dw", "proj")}
    assert kernels == {"/stem/stem.0/Conv", *blocks, "/fc1/Gemm", "/fc2/Gemm"}
    assert all(row.tensor is not None for row in answer.rows if row.role == "kernel")


def test_own_grids_are_trained_ranges() -> None:
    answer = api.params(FILES / "net_qdq.onnx", FILES / "net_int8_pt2e.tflite", DATA, HOW)
    rows = {row.name: row for row in answer.rows}
    image = rows["image_QuantizeLinear/output"]
    assert image.direct is not None
    assert image.keras is not None
    assert image.direct.low[0] <= image.keras.low[0] < image.keras.high[0] <= image.direct.high[0]
    kernel = rows["/stem/stem.0/Conv/kernel"]
    assert kernel.direct is not None
    assert len(kernel.direct.low) == 8


def test_a_network_with_quantizers_is_the_float_file_of_the_same() -> None:
    """What rounds gives something else than a float operator, which says nothing against it."""
    (report,) = api.diff(FILES / "net_qdq.onnx", FILES / "net_float.tflite", DATA, HOW, layers=True).layers
    assert not report.unrelated
    assert len(report.layers) >= 13
    assert report.only_candidate == ()


def test_data_with_channels_last_are_turned_and_it_is_said() -> None:
    rows = load_batch(DATA)
    last = make_batch({"x": np.moveaxis(rows.arrays["x"], 1, -1)}, "turned")
    plain, turned = (api.diff(FILES / "net.onnx", FILES / "net_float.tflite", b, HOW) for b in (rows, last))
    assert turned.comparisons[0].figures == plain.comparisons[0].figures


def test_an_output_whose_samples_stand_along_another_axis(tmp_path: Path) -> None:
    reference = save(tmp_path, model([N("Transpose", ["x"], ["y"], {"perm": [1, 0, 2]})], {"x": ("n", 5, 4)}, ["y"]))
    tensors = [T("x", (1, 5, 4), "float32"), T("p", (3,), "int32", data=np.array([1, 0, 2], np.int32))]
    made = write_tflite([*tensors, T("y", (5, 1, 4), "float32")], [Op("TRANSPOSE", ["x", "p"], ["y"])], ["x"], ["y"])
    (tmp_path / "model.tflite").write_bytes(made)
    outcome = api.diff(
        reference, tmp_path / "model.tflite", make_batch({"x": floats(6, 5, 4)}, "made"), HOW, layers=True
    )
    assert outcome.comparisons[0].figures.max_abs_error == 0
    assert outcome.layers[0].only_reference == outcome.layers[0].only_candidate == ()


@pytest.mark.parametrize("command", ["diff", "explain", "params", "lint"])
def test_json(command: str) -> None:
    result = run(command, "net.onnx", "net_int8_pt2e.tflite", "--json")
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)["schema"] == "quantdiff/1"


def test_the_error_is_painted(tmp_path: Path) -> None:
    result = run("overlay", "net.onnx", "net_int8_pt2e.tflite", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert any(file.name.endswith("explained.json") or "rung" in file.name for file in (tmp_path / "out").iterdir())


def test_without_the_extra_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [each for each in sys.modules if each.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"is needed here: pip install 'quantdiff\[onnx\]'$"):
        open_onnx(FILES / "net.onnx")


def run(command: str, reference: str, candidate: str, *more: str) -> Any:
    data = [] if command == "lint" else ["--data", str(DATA)]
    return CliRunner().invoke(main, [command, str(FILES / reference), str(FILES / candidate), *data, *more])
