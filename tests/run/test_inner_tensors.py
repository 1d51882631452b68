"""Inner tensors from a real runtime, held against the operators run one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.data import Batch
from quantdiff.load.rewrite import with_outputs
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run import inner_tensors as inner
from quantdiff.run.child import RuntimeProcess

TENSORS = [
    T("x", (1, 4), scale=1.0, shape_signature=(-1, 4)),
    T("twice", (1, 4), scale=1.0, shape_signature=(-1, 4)),
    T("four", (1, 4), scale=1.0, shape_signature=(-1, 4)),
]
CHAIN = write_tflite(
    TENSORS, [Op("ADD", ["x", "x"], ["twice"]), Op("ADD", ["twice", "twice"], ["four"])], ["x"], ["four"]
)


@pytest.mark.golden
@pytest.mark.parametrize("at_once", [2**27, 16 * 7])
def test_inner_values_slice_by_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(inner, "BYTES_AT_ONCE", at_once)
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    x = np.arange(-40, 40, dtype=np.float32).reshape(20, 4) / 3
    seen: list[Array] = []
    with RuntimeProcess("reference") as process:
        batch = Batch({"x": x})
        watched = inner.watch_tensors(load_tflite(path), [1], batch, process, lambda values: seen.append(values[1]))
    whole = np.concatenate(seen)
    assert len(seen) == (1 if at_once > 1000 else 3)
    assert np.abs(whole - 2 * x).max() <= 1
    assert np.array_equal(watched.trace.outputs[0].array, 2 * whole)
    assert (watched.changed, watched.trace.engine) == (0, "tflite:reference")


@pytest.mark.golden
def test_an_output_that_changes_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    other = write_tflite(
        TENSORS, [Op("ADD", ["x", "x"], ["twice"]), Op("ADD", ["twice", "x"], ["four"])], ["x"], ["four"]
    )
    monkeypatch.setattr(
        inner, "with_outputs", lambda data, tensors: with_outputs(other if data == CHAIN else data, tensors)
    )
    x = np.array([[1, 2, 0, 3]], np.float32)
    with RuntimeProcess("reference") as process:
        watched = inner.watch_tensors(load_tflite(path), [1], Batch({"x": x}), process, lambda values: None)
    assert watched.changed == 3  # all but the 0
