"""A model that is known as values becomes a file that says the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from float_pairs import NETS, float_model, int8_model, ranges
from small_models import hangs
from written_models import Op, T, write_tflite

from quantdiff.errors import BadModel
from quantdiff.graph import Graph, Tensor
from quantdiff.load.tflite import read_model
from quantdiff.load.written import written


def content(graph: Graph) -> list[Any]:
    """All that counts, with options as text: they hold arrays."""
    operators = [(op.op, op.inputs, op.outputs, op.version, _options(op.options)) for op in graph.operators]
    return [graph.inputs, graph.outputs, operators, [_tensor(tensor) for tensor in graph.tensors]]


def _options(options: Any) -> dict[str, str]:
    return {key: str(value) for key, value in options.items()}


def _tensor(tensor: Tensor) -> tuple[Tensor, bytes]:
    return replace(tensor, buffer=0), b"" if tensor.data is None else np.ascontiguousarray(tensor.data).tobytes()


@pytest.mark.parametrize("name", NETS)
def test_it_reads_as_it_was(name: str) -> None:
    net = NETS[name]()
    for data in (float_model(net), int8_model(net, ranges(net))):
        before = read_model(memoryview(data))
        assert content(read_model(memoryview(written(before))).main) == content(before.main)


def test_what_is_not_written() -> None:
    with pytest.raises(BadModel, match="bodies of loops"):
        written(read_model(memoryview(hangs())))
    tensors = [T("x", (1, 4), "float32"), T("y", (1, 4), "float32")]
    custom = write_tflite(tensors, [Op("Bamboozle", ["x"], ["y"], custom=True)], ["x"], ["y"])
    with pytest.raises(BadModel, match="operator 0 CUSTOM:Bamboozle: no TFLite operator"):
        written(read_model(memoryview(custom)))
