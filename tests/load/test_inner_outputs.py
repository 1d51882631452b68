"""Inner tensors as outputs: on a model written by hand, where the values are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from written_models import Op, Sub, T, write_model

from quantdiff.load.tflite import load_tflite
from quantdiff.load.written import with_outputs
from quantdiff.quant import Array, round_half_away

CHAIN = write_model(
    [
        Sub(
            [
                T("x", (1, 4), scale=0.5, zero_point=-3),
                T("w", (2, 4), scale=0.25, data=[[1, -2, 3, -4], [5, 6, -7, 8]]),
                T("h", (1, 2), scale=0.5, zero_point=1),
                T("v", (3, 2), scale=0.125, data=[[10, -20], [30, 40], [-50, 60]]),
                T("y", (1, 3), scale=1.0, zero_point=-2),
            ],
            [Op("FULLY_CONNECTED", ["x", "w", None], ["h"]), Op("FULLY_CONNECTED", ["h", "v", None], ["y"])],
            ["x"],
            ["y"],
        ),
        Sub([T("other", (1,), "float32")], [], ["other"], ["other"], "second"),
    ]
)


def run(data: bytes, x: list[int]) -> list[Array]:
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.array([x], np.int8))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


@pytest.mark.golden
def test_inner_tensors_come_out_and_the_output_stays() -> None:
    x = [7, -13, 21, 4]
    y, h, again = run(with_outputs(CHAIN, [4, 2, 4]), x)
    real = (np.array(x) + 3) * 0.5 @ (np.array([[1, -2, 3, -4], [5, 6, -7, 8]]) * 0.25).T
    assert h.tolist() == [[int(value) for value in round_half_away(real / 0.5) + 1]]
    assert y.tolist() == again.tolist() == run(CHAIN, x)[0].tolist()


def test_nothing_else_changes(tmp_path: Path) -> None:
    paths = [tmp_path / "before.tflite", tmp_path / "after.tflite"]
    paths[0].write_bytes(CHAIN + b"\0")  # an odd length: the list of outputs must still be aligned
    paths[1].write_bytes(with_outputs(CHAIN + b"\0", [4, 2]))
    assert paths[1].stat().st_size % 4 == 0
    before, after = map(load_tflite, paths)
    assert after.main.outputs == (4, 2)
    assert (after.main.tensors, after.main.operators, after.main.inputs) == (
        before.main.tensors,
        before.main.operators,
        before.main.inputs,
    )
    assert after.subgraphs[1] == before.subgraphs[1]
    for a, b in zip(before.main.tensors, after.main.tensors, strict=True):
        assert (a.data is None) == (b.data is None)
        assert a.data is None or np.array_equal(a.data, b.data if b.data is not None else [])
    changed = np.frombuffer(CHAIN, np.uint8) != np.frombuffer(paths[1].read_bytes()[: len(CHAIN)], np.uint8)
    assert changed.sum() <= 4
