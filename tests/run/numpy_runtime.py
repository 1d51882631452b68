"""The adapter of a runtime that has no simulator: NumPy, every layer a step too high. It runs in the child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantdiff.graph import dense_values
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array, dequantize, quantize
from quantdiff.run.batches import OpenModel


class Plain:
    """FULLY_CONNECTED in float64 and no other op; one sample at a time."""

    def __init__(self, content: bytes) -> None:
        self.graph = read_model(memoryview(content)).main
        self.inputs = [self.graph.tensors[i].shape for i in self.graph.inputs]
        self.outputs = len(self.graph.outputs)
        self.delegated: list[tuple[list[int], list[int]]] = []
        self.values: dict[int, Array] = {}

    def resize(self, shapes: list[tuple[int, ...]]) -> bool:
        del shapes
        return False

    def invoke(self, inputs: list[Array]) -> None:
        self.values = dict(zip(self.graph.inputs, inputs, strict=True))
        for operator in self.graph.operators:
            if operator.op != "FULLY_CONNECTED":
                raise ValueError(f"no kernel for {operator.op}")
            x, w, bias = (self._real(i) for i in operator.inputs)
            y = self.graph.tensors[operator.outputs[0]]
            assert y.quant is not None
            steps = quantize((x @ w.T + bias).astype(np.float32), y.quant, y.dtype)
            self.values[y.index] = (steps.astype(np.int32) + 1).clip(-128, 127).astype(y.dtype)

    def _real(self, index: int) -> Array:
        tensor = self.graph.tensors[index]
        assert tensor.quant is not None
        values = self.values[index] if index in self.values else dense_values(tensor)
        return dequantize(values, tensor.quant).astype(np.float64)

    def output(self, i: int) -> Array:
        return self.values[self.graph.outputs[i]]


def open_model(model: str, runtime: str) -> OpenModel:
    assert runtime == "plain"
    return Plain(Path(model).read_bytes())
