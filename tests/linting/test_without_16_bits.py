"""What KERNEL01 says of every operator is what the runtimes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from written_models import Op, T, write_tflite

from quantdiff.compare.verification import load_and_verify
from quantdiff.linting.checks.floats import WITHOUT_16_BITS

SHAPE = (1, 4, 4, 8)
POOL = {"padding": 1, "strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 1}
OPTIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "L2_POOL_2D": (POOL, "Pool2DOptions"),
    "L2_NORMALIZATION": ({}, "L2NormOptions"),
    "LOCAL_RESPONSE_NORMALIZATION": ({"radius": 1, "bias": 1.0, "alpha": 1.0, "beta": 0.5}, None),
    "SPACE_TO_DEPTH": ({"blockSize": 1}, None),
    "DEPTH_TO_SPACE": ({"blockSize": 1}, None),
}
WITH_AN_AXIS, OF_TWO = ("ARG_MAX", "ARG_MIN", "CUMSUM"), ("ATAN2", "POW")


def written(op: str) -> bytes:
    options, kind = OPTIONS.get(op, ({}, None))
    tensors = [T("x", SHAPE, "int16", 0.01), T("axis", (), "int32", data=3)]
    y = T("y", SHAPE, "int16", 0.01)
    if op.startswith("ARG"):
        y, options = T("y", SHAPE[:-1], "int32"), {"outputType": 2}
    names = ["x", "axis"] if op in WITH_AN_AXIS else ["x", "x"] if op in OF_TWO else ["x"]
    return write_tflite([*tensors, y], [Op(op, names, ["y"], options, kind)], ["x"], ["y"])


@pytest.mark.golden
@pytest.mark.thorough
@pytest.mark.parametrize("op", WITHOUT_16_BITS)
def test_no_runtime_runs_it(tmp_path: Path, op: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(written(op))
    verdicts = load_and_verify(path, ["builtin", "reference", "tflm"], samples=1).verdicts
    assert {each.status for each in verdicts.values()} == {"unavailable"}
    words = ("type", "int16", "find op")
    assert all(any(word in each.why.lower() for word in words) for each in verdicts.values())
