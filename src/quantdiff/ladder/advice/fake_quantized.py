"""A plan as a float file that any runtime runs: every grid stands there as QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.ladder.advice.choices import OUTPUT, Plan
from quantdiff.ladder.lowered import RECODES
from quantdiff.ladder.real_graph import Grid
from quantdiff.load.rewire import VERSION
from quantdiff.load.written import packed, schema, unpacked
from quantdiff.quant import Array

TYPES = {(-128, 127): "INT8", (0, 255): "UINT8", (-32768, 32767): "INT16"}


def fake_quantized(model: bytes, plan: Plan) -> bytes:
    """The file's graph in floats, with the constants and grids of a plan.

    Raises:
        BadModel: it cannot be written so.
    """
    whole = unpacked(model)
    try:
        _Writer(schema(), whole, plan).write()
    except (struct.error, TypeError, AttributeError, KeyError) as error:
        raise BadModel(f"the model cannot be written in floats: {error}") from error
    return packed(whole)


class _Writer:
    """The parts of a file in the making.

    ``moved``: where the values of a tensor stand that is not made any more. ``restored``: by tensor and grid its values
    on that grid, as floats.
    """

    def __init__(self, schema: Any, model: Any, plan: Plan) -> None:
        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self.plan, self.real = plan, plan.switches.file
        self.moved: dict[int, int] = {}
        self.restored: dict[tuple[int, Grid], int] = {}
        self.operators: list[Any] = []

    def write(self) -> None:
        """Turn everything into floats."""
        for tensor, values in self.real.constants.items():
            if self.real.graph.tensors[tensor].is_constant and values.dtype.kind == "f":
                self._constant(tensor, self.plan.constants.get(tensor, values))
        for tensor in self.real.graph.inputs:
            self._float(tensor)
            self._put(tensor)
        for mine, operator in zip(self.real.graph.operators, self.graph.operators, strict=True):
            if mine.index in self.real.folded and self.real.constants[mine.outputs[0]].dtype.kind == "f":
                self._constant(mine.outputs[0], self.real.constants[mine.outputs[0]])
                continue
            given = [self._read(i, mine.index) for i in mine.inputs]
            if mine.op in RECODES:
                self.moved[mine.outputs[0]] = given[0]
            else:
                operator.inputs = given
                self.operators.append(operator)
            for tensor in mine.outputs:
                self._float(tensor)
                self._put(tensor)
        self._finish()

    def _finish(self) -> None:
        ends = {i: self._read(i, OUTPUT) for i in self.real.graph.outputs}
        self.graph.operators = self.operators
        self.graph.outputs = [ends[i] for i in self.real.graph.outputs]
        for signature in self.model.signatureDefs or ():
            for each in signature.outputs if signature.subgraphIndex == 0 else ():
                each.tensorIndex = ends.get(each.tensorIndex, each.tensorIndex)

    def _constant(self, tensor: int, values: Array) -> None:
        found = self.graph.tensors[tensor]
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        found.buffer, found.type, found.quantization = len(self.model.buffers) - 1, self.schema.TensorType.FLOAT32, None
        found.sparsity = None

    def _float(self, tensor: int) -> None:
        if self.real.graph.tensors[tensor].grid is not None:
            self.graph.tensors[tensor].type = self.schema.TensorType.FLOAT32
            self.graph.tensors[tensor].quantization = None

    def _put(self, tensor: int) -> None:
        """The reference's own grid, whoever reads the tensor."""
        if (own := self.plan.own.get(tensor)) is not None:
            self.moved[tensor] = self._restored(tensor, own)

    def _read(self, tensor: int, reader: int) -> int:
        """What an operator reads in a tensor's place; a state that it keeps is in float, too."""
        if tensor >= 0 and self.real.graph.tensors[tensor].is_variable:
            self._float(tensor)
        grid = self.plan.grid(tensor, reader) if tensor >= 0 else None
        return self.moved.get(tensor, tensor) if grid is None else self._restored(tensor, grid)

    def _restored(self, tensor: int, grid: Grid) -> int:
        if (tensor, grid) not in self.restored:
            source = self.moved.get(tensor, tensor)
            stored, restored = self._tensor(source, b"/stored", grid), self._tensor(source, b"/restored")
            self._operate("QUANTIZE", source, stored)
            self._operate("DEQUANTIZE", stored, restored)
            self.restored[tensor, grid] = restored
        return self.restored[tensor, grid]

    def _tensor(self, like: int, suffix: bytes, grid: Grid | None = None) -> int:
        source, made = self.graph.tensors[like], self.schema.TensorT()
        made.name = bytes(source.name or b"") + suffix
        made.shape, made.shapeSignature, made.hasRank = source.shape, source.shapeSignature, source.hasRank
        made.type = self.schema.TensorType.FLOAT32
        if grid is not None:
            made.type = getattr(self.schema.TensorType, TYPES[grid.low, grid.high])
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [grid.scale], [grid.zero_point]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def _operate(self, op: str, source: int, target: int) -> None:
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, op)
        code.deprecatedBuiltinCode = code.builtinCode
        code.version = VERSION
        self.model.operatorCodes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, [source], [target]
        self.operators.append(made)
