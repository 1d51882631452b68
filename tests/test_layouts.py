"""Channels first beside channels last: turned where sizes or values tell, by an option where they do not."""

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
from quantdiff.errors import BadData
from quantdiff.load.data import Slot, bind, make_batch
from quantdiff.quant import Array

pytestmark = pytest.mark.golden
HOW = api.Settings(runtimes=("reference",))


def kernel(channels: int) -> Array:
    return floats(4, channels, 3, 3)


def onnx(folder: Path, channels: int, rows: int, columns: int, *, flat: bool) -> Path:
    """Channels first: a convolution, whose output is an image or a row."""
    nodes = [N("Conv", ["x", "w"], ["y"], {"pads": [1, 1, 1, 1]})]
    nodes += [N("Flatten", ["y"], ["z"])] if flat else []
    made = model(nodes, {"x": ("n", channels, rows, columns)}, ["z" if flat else "y"], {"w": kernel(channels)})
    return save(folder, made)


def tflite(folder: Path, channels: int, rows: int, columns: int, *, flat: bool) -> Path:
    """The same, channels last."""
    shape = (1, rows, columns, 4)
    order = np.array([0, 3, 1, 2], np.int32)
    tensors = [
        T("x", (1, rows, columns, channels), "float32"),
        T("w", (4, 3, 3, channels), "float32", data=kernel(channels).transpose(0, 2, 3, 1)),
        T("b", (4,), "float32", data=np.zeros(4, np.float32)),
        T("y", shape, "float32"),
        T("order", (4,), "int32", data=order),
        T("t", (1, 4, rows, columns), "float32"),
        T("s", (2,), "int32", data=np.array([-1, 4 * rows * columns], np.int32)),
        T("z", (1, 4 * rows * columns), "float32"),
    ]
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    operators = [Op("CONV_2D", ["x", "w", "b"], ["y"], options, "Conv2DOptions")]
    operators += [Op("TRANSPOSE", ["y", "order"], ["t"]), Op("RESHAPE", ["t", "s"], ["z"])] if flat else []
    path = folder / "model.tflite"
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["z" if flat else "y"]))
    return path


def data(*shape: int) -> Any:
    return make_batch({"x": np.random.default_rng(0).uniform(0, 1, (6, *shape)).astype(np.float32)}, "made")


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    ("size", "given"), [((3, 8, 6), (3, 8, 6)), ((3, 8, 6), (8, 6, 3)), ((1, 8, 8), (1, 8, 8)), ((5, 5, 5), (5, 5, 5))]
)
def test_one_array_serves_both(tmp_path: Path, size: tuple[int, ...], given: tuple[int, ...], flat: bool) -> None:
    """Of 5 × 5 × 5 the values decide, and the data are in the reference's order."""
    pair = onnx(tmp_path, *size, flat=flat), tflite(tmp_path, *size, flat=flat)
    outcome = api.diff(*pair, data(*given), HOW, layers=True)
    assert outcome.comparisons[0].figures.max_abs_error < 1e-5
    (report,) = outcome.layers
    assert min(row.figures.sqnr_db for row in report.layers) > 100
    assert not report.unrelated
    assert ("input x: NCHW → NHWC" in outcome.notes) == (size[0] > 1)
    assert ("output y: NCHW → NHWC" in outcome.notes) == (not flat)
    (explanation,) = api.explain(*pair, data(*given), HOW).found
    assert explanation.closed_reference
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3


def symmetric() -> Any:
    """Equal under every order of axes, so that no value tells them apart."""
    return make_batch(
        {"x": np.broadcast_to(np.arange(1, 5, dtype=np.float32)[:, None, None, None], (4, 5, 5, 5))}, "made"
    )


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (["--layout", "reference=NCHW"], True),
        (["--layout", "candidate=NHWC"], True),
        (["--layout", "reference=NCHW", "--layout", "candidate=NHWC"], True),
        (["--layout", "reference=NCHW", "--layout", "candidate=NCHW"], False),
        (["--layout", "reference=NHWC"], False),
    ],
)
def test_the_option_decides(tmp_path: Path, options: list[str], same: bool) -> None:
    pair = onnx(tmp_path, 5, 5, 5, flat=True), tflite(tmp_path, 5, 5, 5, flat=True)
    np.savez(tmp_path / "x.npz", **data(5, 5, 5).arrays)
    result = CliRunner().invoke(
        main, ["diff", *map(str, pair), "--data", str(tmp_path / "x.npz"), "--runtime", "reference", "--json", *options]
    )
    assert (result.exit_code == 0) == same
    notes = json.loads(result.stdout)["notes"]
    assert any(note.startswith("input x: N") for note in notes) == ("candidate=NCHW" not in options)


def test_the_option_wants_two_words(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diff", "a", "b", "--data", "c", "--layout", "NCHW"])
    assert result.exit_code == 2
    assert "give reference or candidate, and NCHW or NHWC: reference=NCHW" in result.stderr


def test_data_that_fit_in_no_order_are_refused() -> None:
    with pytest.raises(BadData, match="do not fit"):
        bind(data(4, 8, 6), [Slot("x", (None, 3, 8, 6), "float32")], "model")
