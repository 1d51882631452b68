"""The folder: every format holds the same numbers, and the manifest says where."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from golden_network import recorded

from quantdiff.paper.vectors import GoldenVectors
from quantdiff.report.folder import CannotWrite
from quantdiff.report.vectors.write import words, write_vectors


def test_words_are_two_s_complement_and_bits_of_floats() -> None:
    assert words(np.asarray([-1, 127, -128], np.int8)) == "ff\n7f\n80\n"
    assert words(np.asarray([[-2], [2**31 - 1]], np.int32)) == "fffffffe\n7fffffff\n"
    assert words(np.asarray([1.5], np.float32)) == "3fc00000\n"
    assert words(np.asarray([True, False])) == "01\n00\n"


@pytest.mark.golden
@pytest.mark.parametrize("form", ["npz", "hex", "c"])
def test_the_manifest_finds_every_vector(tmp_path: Path, form: str) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"model")
    golden, out = recorded("tflm"), tmp_path / "out"
    document = write_vectors(golden, model, out, form)
    assert json.loads((out / "manifest.json").read_text()) == json.loads(json.dumps(document))
    assert document["model_sha256"] == hashlib.sha256(b"model").hexdigest()
    assert (document["schema"], document["runtime"], document["samples"]) == ("quantdiff/1", "tflm", 2)
    assert document["versions"]["ai-edge-litert"]
    dense = document["operators"][3]
    assert (dense["op"], dense["rule"], dense["clamp"]) == ("FULLY_CONNECTED", "G" * 12, (-128, 127))
    described = dense["vectors"]["input"]
    assert (described["shape"], described["dtype"], described["zero_point"]) == ([2, 1, 54], "int8", [-3])
    files = {vector["file"] for each in document["operators"] for vector in each["vectors"].values()}
    program = {"main.c", "layer.h", "layers.h"} if form == "c" else set()
    assert {path.name for path in out.iterdir()} == files | program | {"manifest.json"}


@pytest.mark.golden
def test_npz_and_hex_hold_the_numbers(tmp_path: Path) -> None:
    golden = recorded("tflm")
    for form in ("npz", "hex"):
        write_vectors(golden, Path(__file__), tmp_path / form, form)
    with np.load(tmp_path / "npz" / "op_003_fully_connected.npz", allow_pickle=False) as archive:
        for vector in golden.operators[3].vectors:
            np.testing.assert_array_equal(archive[vector.key], vector.array)
    lines = (tmp_path / "hex" / "op_003_fully_connected.accumulator.hex").read_text().split()
    accumulator = golden.operators[3].array("accumulator")
    assert accumulator is not None
    assert [int(line, 16) for line in lines] == [v % 2**32 for v in accumulator.reshape(-1).tolist()]


def test_nothing_is_left_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(CannotWrite, match="choose another --out"):
        write_vectors(GoldenVectors("tflm", 1, ()), Path(__file__), tmp_path / "out", "npz")
    with pytest.raises(FileNotFoundError):
        write_vectors(GoldenVectors("tflm", 1, ()), tmp_path / "no model", tmp_path / "fresh", "npz")
    assert not (tmp_path / "fresh").exists()
