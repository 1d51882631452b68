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


def inner_onnx(folder: Path, channels: int, rows: int, columns: int) -> Path:
    """A curve between two convolutions, all channels first."""
    nodes = [
        N("Conv", ["x", "w"], ["y"], {"pads": [1, 1, 1, 1]}),
        N("Sigmoid", ["y"], ["s"]),
        N("Mul", ["y", "s"], ["m"]),
        N("Conv", ["m", "v"], ["z"], {"pads": [1, 1, 1, 1]}),
        N("Flatten", ["z"], ["f"]),
    ]
    weights = {"w": square(channels), "v": square(channels, 0.3)}
    return save(folder, model(nodes, {"x": ("n", channels, rows, columns)}, ["f"], weights))


def square(channels: int, scale: float = 0.5) -> Array:
    return floats(channels, channels, 3, 3, scale=scale)


def inner_tflite(folder: Path, channels: int, rows: int, columns: int, *, first: bool) -> Path:
    """The same; ``first``: with its curve and product channels first, as converters leave what they do not know."""
    last, front = (1, rows, columns, channels), (1, channels, rows, columns)
    shape = front if first else last
    turn = [T("into", (4,), "int32", data=np.array([0, 3, 1, 2], np.int32))] if first else []
    turn += [T("back", (4,), "int32", data=np.array([0, 2, 3, 1], np.int32))] if first else []
    zeros = np.zeros(channels, np.float32)
    tensors = [
        *[T(name, last, "float32") for name in ("x", "y", "back_m", "z")],
        *[T(name, shape, "float32") for name in ("t", "s", "m")],
        T("w", (channels, 3, 3, channels), "float32", data=square(channels).transpose(0, 2, 3, 1)),
        T("v", (channels, 3, 3, channels), "float32", data=square(channels, 0.3).transpose(0, 2, 3, 1)),
        T("b", (channels,), "float32", data=zeros),
        T("order", (4,), "int32", data=np.array([0, 3, 1, 2], np.int32)),
        T("u", front, "float32"),
        T("size", (2,), "int32", data=np.array([-1, channels * rows * columns], np.int32)),
        T("f", (1, channels * rows * columns), "float32"),
        *turn,
    ]
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    t, m = ("t", "back_m") if first else ("y", "m")
    operators = [
        Op("CONV_2D", ["x", "w", "b"], ["y"], options, "Conv2DOptions"),
        *([Op("TRANSPOSE", ["y", "into"], ["t"])] if first else []),
        Op("LOGISTIC", [t], ["s"]),
        Op("MUL", [t, "s"], ["m"], {}, "MulOptions"),
        *([Op("TRANSPOSE", ["m", "back"], ["back_m"])] if first else []),
        Op("CONV_2D", [m, "v", "b"], ["z"], options, "Conv2DOptions"),
        Op("TRANSPOSE", ["z", "order"], ["u"]),
        Op("RESHAPE", ["u", "size"], ["f"]),
    ]
    path = folder / f"{'first' if first else 'last'}.tflite"
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["f"]))
    return path


@pytest.mark.parametrize("size", [(3, 8, 6), (5, 5, 5)])
def test_inner_values_are_paired_in_any_order_of_axes(tmp_path: Path, size: tuple[int, ...]) -> None:
    """Of one curve that stands channels first in one model only: found, counted, and said by how it was turned."""
    first, last = (inner_tflite(tmp_path, *size, first=each) for each in (True, False))
    onnx = inner_onnx(tmp_path, *size)
    batch, turned = data(*size), (1, 2, 0)
    pairs: list[tuple[tuple[Path, Path], dict[str, tuple[int, ...]]]] = [((first, last), {"s": turned, "m": turned})]
    if size[0] != size[1]:
        pairs += [((last, first), {"s": (2, 0, 1), "m": (2, 0, 1)}), ((onnx, first), {"/y/Conv": turned})]
    for pair, orders in pairs:
        data_ = batch if pair[0] == onnx else make_batch({"x": batch.arrays["x"].transpose(0, 2, 3, 1)}, "made")
        (report,) = api.diff(*pair, data_, HOW, layers=True).layers
        assert not report.only_reference
        assert not report.only_candidate
        rows = {row.reference: row for row in report.layers if row.layer != "input"}
        assert orders.items() <= {name: row.order for name, row in rows.items()}.items()
        assert len(rows) - (0 if pair[0] == onnx else 1) >= 5
        assert min(row.figures.sqnr_db for row in rows.values()) > 100
        assert min(row.local.sqnr_db for row in rows.values() if row.local is not None) > 100
