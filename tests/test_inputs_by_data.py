"""Two inputs of one shape that the file calls otherwise: what both models compute says which is which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import N, floats, model, save
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.errors import BadData

HOW = api.Settings(runtimes=("reference",))


def pair(folder: Path, op: str, places: tuple[str, str]) -> tuple[Path, Path, Path]:
    """``left - right``, or another function of both, beside a file that takes them as b and a."""
    reference = save(folder, model([N(op, ["left", "right"], ["y"])], {"left": ("n", 4), "right": ("n", 4)}, ["y"]))
    tensors = [T(name, (1, 4), "float32") for name in ("b", "a", "y")]
    candidate = folder / "model.tflite"
    candidate.write_bytes(write_tflite(tensors, [Op(op.upper(), places, ["y"], {}, f"{op}Options")], ["b", "a"], ["y"]))
    np.savez(folder / "data.npz", left=floats(6, 4), right=floats(6, 4)[::-1] + 1)
    return reference, candidate, folder / "data.npz"


def test_the_order_is_found_and_told(tmp_path: Path) -> None:
    reference, candidate, data = pair(tmp_path, "Sub", ("a", "b"))
    outcome = api.diff(reference, candidate, data, HOW, layers=True)
    (comparison,) = outcome.comparisons
    assert comparison.figures.max_abs_error == 0
    assert "by what both models compute, input right is b, left is a" in outcome.warnings
    assert [row.reference for row in outcome.layers[0].layers] == ["left", "right", "/y/Sub"]
    (explanation,) = api.explain(reference, candidate, data, HOW).found
    assert explanation.differing == 0


def test_where_both_orders_are_the_same_the_places_count(tmp_path: Path) -> None:
    outcome = api.diff(*pair(tmp_path, "Add", ("a", "b")), HOW)
    assert "by what both models compute, input left is b, right is a" in outcome.warnings
    assert outcome.comparisons[0].figures.max_abs_error == 0


def test_another_model_is_refused(tmp_path: Path) -> None:
    reference, _, data = pair(tmp_path, "Mul", ("a", "b"))
    (tmp_path / "other").mkdir()
    _, candidate, _ = pair(tmp_path / "other", "Sub", ("a", "b"))
    with pytest.raises(BadData, match=r"arrays left, right do not say which input each of them is: model\.onnx takes"):
        api.diff(reference, candidate, data, HOW)


def test_where_one_order_alone_fits_the_shapes_it_is_taken(tmp_path: Path) -> None:
    """An image in the other order of axes fits no input by its shape as it is."""
    shapes = {"image": ("n", 3, 8, 8), "row": ("n", 4)}
    nodes = [N("GlobalMaxPool", ["image"], ["top"]), N("Flatten", ["top"], ["most"]), N("Relu", ["row"], ["y"])]
    reference = save(tmp_path, model(nodes, shapes, ["most", "y"]))
    tensors = [
        *(T(name, (1, 4), "float32") for name in ("b", "y")),
        T("a", (1, 8, 8, 3), "float32"),
        T("axes", (2,), "int32", data=[1, 2]),
        T("most", (1, 3), "float32"),
    ]
    operators = [
        Op("REDUCE_MAX", ["a", "axes"], ["most"], {"keepDims": False}, "ReducerOptions"),
        Op("RELU", ["b"], ["y"]),
    ]
    candidate = tmp_path / "model.tflite"
    candidate.write_bytes(write_tflite(tensors, operators, ["b", "a"], ["most", "y"]))
    np.savez(tmp_path / "data.npz", image=floats(6, 3, 8, 8), row=floats(6, 4))
    outcome = api.diff(reference, candidate, tmp_path / "data.npz", HOW)
    assert outcome.comparisons[0].figures.max_abs_error == 0
