"""A float file and one made of it, both written by hand, and what ``explain`` says of them."""

from __future__ import annotations

from pathlib import Path

from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.ladder.explanation import Explanation
from quantdiff.load.data import Batch
from quantdiff.quant import Array

RELU = 1


Files = tuple[Path, Path]


def saved(folder: Path, reference: bytes, candidate: bytes) -> Files:
    """Both as files."""
    files = folder / "float.tflite", folder / "candidate.tflite"
    for file, content in zip(files, (reference, candidate), strict=True):
        file.write_bytes(content)
    return files


def explained(files: Files, x: Array, runtime: str = "reference") -> Explanation:
    """The account of both, whose input is ``x``."""
    (told,) = api.explain(*files, Batch({"x": x}), api.Settings(runtimes=(runtime,))).found
    return told


def two_dense_in_floats(first: Array, last: Array, bias: Array | None = None) -> bytes:
    """A dense layer with a ReLU, ``h``, and one behind it, ``y``. Kernels: (units, depth)."""
    (units, depth), ends = first.shape, len(last)
    tensors = [
        T("x", (1, depth), "float32"),
        T("first", first.shape, "float32", data=first),
        T("h", (1, units), "float32"),
        T("last", last.shape, "float32", data=last),
        *([] if bias is None else [T("bias", bias.shape, "float32", data=bias)]),
        T("y", (1, ends), "float32"),
    ]
    dense = [
        Op("FULLY_CONNECTED", ["x", "first"], ["h"], {"fusedActivationFunction": RELU}),
        Op("FULLY_CONNECTED", ["h", "last", *([] if bias is None else ["bias"])], ["y"], {}),
    ]
    return write_tflite(tensors, dense, ["x"], ["y"])
