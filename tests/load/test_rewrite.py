"""More outputs for a model, without another change to the file."""

from __future__ import annotations

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.errors import BadModel
from quantdiff.load.tflite import read_model
from quantdiff.load.written import with_outputs

MODEL = write_tflite(
    [T("x", (1, 4), scale=0.5), T("m", (1, 4), scale=0.25), T("y", (1, 4), scale=0.5)],
    [Op("QUANTIZE", ["x"], ["m"]), Op("QUANTIZE", ["m"], ["y"])],
    ["x"],
    ["y"],
)


def test_only_the_outputs_change() -> None:
    rewritten = with_outputs(MODEL, [2, 1])
    before, after = (read_model(memoryview(data)).main for data in (MODEL, rewritten))
    assert after.outputs == (2, 1)
    assert (after.tensors, after.operators, after.inputs) == (before.tensors, before.operators, before.inputs)


@pytest.mark.golden
def test_an_interpreter_gives_the_tensor_between() -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=with_outputs(MODEL, [2, 1]))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.asarray([[1, 2, 3, 4]], np.int8))
    interpreter.invoke()
    y, m = (interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details())
    assert (y.tolist(), m.tolist()) == ([[1, 2, 3, 4]], [[2, 4, 6, 8]])


@pytest.mark.parametrize("data", [MODEL[:60], b"\0" * 12])
def test_a_damaged_file_is_named(data: bytes) -> None:
    with pytest.raises(BadModel):
        with_outputs(data, [0])
