"""Weights behind DEQUANTIZE or DENSIFY: float16, weight-only, sparse; what XNNPACK unpacks and what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sim.ops.test_few import by_row
from sim.ops.test_int4 import packed
from written_models import Op, T, write_tflite

from quantdiff.compare.verification import load_and_verify

pytestmark = pytest.mark.golden
LITERT = ("xnnpack", "builtin", "reference")


def weight_only(kernel: T, *recoded: tuple[str, T]) -> bytes:
    """x @ kernel, the kernel behind one operator after another: ``recoded`` are ops and what each gives."""
    names = [kernel.name, *(t.name for _, t in recoded)]
    tensors = [T("x", (1, 8), "float32"), kernel, *(t for _, t in recoded), T("b", (4,), "float32", data=[1, 2, 3, 4])]
    tensors.append(T("y", (1, 4), "float32"))
    operators = [
        Op(op, [names[i]], [names[i + 1]], version=1 if op == "DENSIFY" else 5) for i, (op, _) in enumerate(recoded)
    ]
    operators.append(Op("FULLY_CONNECTED", ["x", names[-1], "b"], ["y"], {"fusedActivationFunction": 0}))
    return write_tflite(tensors, operators, ["x"], ["y"])


ROWS = np.random.default_rng(3).integers(-7, 8, (4, 8))
FLOATS = T("f", (4, 8), "float32")
SPARSE = np.where(ROWS > 3, ROWS, 0).astype(np.float16)
SPARSE_AT = np.nonzero(SPARSE)
EACH = [0.5, 0.25, 0.125, 0.0625]
BEHIND: dict[str, bytes] = {
    "float16": weight_only(T("w", (4, 8), "float16", data=ROWS / 8), ("DEQUANTIZE", FLOATS)),
    "int8": weight_only(T("w", (4, 8), "int8", 0.01, 3, data=ROWS), ("DEQUANTIZE", FLOATS)),
    "int8, per channel": weight_only(T("w", (4, 8), "int8", EACH, data=ROWS), ("DEQUANTIZE", FLOATS)),
    "int4, per channel": weight_only(T("w", (4, 8), "int4", EACH, raw=packed(ROWS)), ("DEQUANTIZE", FLOATS)),
    "sparse float16": weight_only(
        T("w", (4, 8), "float16", raw=SPARSE[SPARSE_AT].tobytes(), sparsity=by_row(SPARSE, SPARSE_AT[1])),
        ("DENSIFY", T("d", (4, 8), "float16")),
        ("DEQUANTIZE", FLOATS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEHIND)
def test_weights_that_stand_behind_dequantize(tmp_path: Path, kind: str) -> None:
    """XNNPACK unpacks what it can, where nobody can read it; it takes the operators that its rules say."""
    path = tmp_path / "weights.tflite"
    path.write_bytes(BEHIND[kind])
    verdicts = load_and_verify(path, LITERT, samples=5).verdicts
    assert {name: v.status for name, v in verdicts.items()} == dict.fromkeys(LITERT, "exact")
    compared = {o.op: o.count for o in verdicts["xnnpack"].operators}
    assert compared["FULLY_CONNECTED"] == 20
    assert compared["DEQUANTIZE"] == (160 if kind.startswith("int4") else 0)
