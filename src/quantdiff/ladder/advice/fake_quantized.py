"""A setting as a float file that any runtime runs: every grid that is left stands there as QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import Operator
from quantdiff.ladder.lowered import RECODES
from quantdiff.ladder.real_graph import Grid, RealGraph, Setting
from quantdiff.load.rewire import VERSION
from quantdiff.quant import Array

TYPES = {(-128, 127): "INT8", (0, 255): "UINT8", (-32768, 32767): "INT16"}


def fake_quantized(
    model: bytes, real: RealGraph, setting: Setting, apart: Collection[int] = (), outputs: Sequence[int] = ()
) -> tuple[bytes, dict[int, int]]:
    """The file's graph in floats, with the constants and grids of a setting; and by operator where its sums stand.

    ``apart``: operators whose fused activation becomes an operator of its own, so that their sums are tensors.
    ``outputs``: further tensors that it gives, as they leave their operators; the sums come last, in that order.

    Raises:
        BadModel: it cannot be written so.
    """
    import flatbuffers  # noqa: PLC0415 (heavy, and only needed here)
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    try:
        whole = schema.ModelT.InitFromPackedBuf(model, 0)
        writer = _Writer(schema, whole, real, setting)
        sums = writer.write(frozenset(apart))
        graph = whole.subgraphs[0]
        graph.outputs = [*graph.outputs, *(writer.given(i) for i in outputs), *sums.values()]
        builder = flatbuffers.Builder(2 * len(model))
        builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output()), sums
    except (struct.error, TypeError, AttributeError, KeyError, flatbuffers.builder.BuilderSizeError) as error:
        raise BadModel(f"the model cannot be written in floats: {error}") from error


class _Writer:
    """The parts of a file in the making; ``moved`` leads from a tensor to the one that its readers read now."""

    def __init__(self, schema: Any, model: Any, real: RealGraph, setting: Setting) -> None:
        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self.real, self.setting = real, setting
        self.moved: dict[int, int] = {}
        self.operators: list[Any] = []

    def given(self, tensor: int) -> int:
        """Where the values of a tensor stand."""
        return self.moved.get(tensor, tensor)

    def write(self, apart: frozenset[int]) -> dict[int, int]:
        """Turn everything into floats; the sums of the operators ``apart``."""
        sums = dict[int, int]()
        for tensor, values in self.real.constants.items():
            if self.real.graph.tensors[tensor].is_constant and values.dtype.kind == "f":
                self._constant(tensor, self.setting.constants.get(tensor, values))
        for tensor in self.real.graph.inputs:
            self._float(tensor)
            self._put(tensor)
        for mine, operator in zip(self.real.graph.operators, self.graph.operators, strict=True):
            if mine.index in self.real.folded:
                self._constant(mine.outputs[0], self.real.constants[mine.outputs[0]])
            elif mine.op in RECODES:
                self.moved[mine.outputs[0]] = self.given(mine.inputs[0])
            else:
                sums |= self._operator(mine, operator, mine.index in apart)
            for tensor in mine.outputs:
                self._put(tensor)
        self._finish()
        return sums

    def _operator(self, mine: Operator, operator: Any, apart: bool) -> dict[int, int]:
        operator.inputs = [self.given(int(i)) for i in operator.inputs]
        for tensor in mine.outputs:
            self._float(tensor)
        self.operators.append(operator)
        if not apart:
            return {}
        sums = self._tensor(mine.outputs[0], b"/sums")
        operator.outputs = [sums]
        self._activate(operator, sums, mine.outputs[0])
        return {mine.index: sums}

    def _finish(self) -> None:
        self.graph.operators = self.operators
        self.graph.outputs = [self.given(int(i)) for i in self.graph.outputs]
        for signature in self.model.signatureDefs or ():
            for each in signature.outputs if signature.subgraphIndex == 0 else ():
                each.tensorIndex = self.given(each.tensorIndex)

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
        """The grid of a tensor behind it, where the setting leaves it one."""
        grid = self.setting.grids.get(tensor, self.real.grids.get(tensor))
        own = self.setting.own.get(tensor)
        if own is None and (grid is None or tensor not in self.setting.rounded or tensor in self.real.copies):
            return
        grid = own or grid
        assert grid is not None
        source = self.given(tensor)
        stored, restored = self._tensor(source, b"/stored", grid), self._tensor(source, b"/restored")
        self._operate("QUANTIZE", source, stored)
        self._operate("DEQUANTIZE", stored, restored)
        self.moved[tensor] = restored

    def _activate(self, operator: Any, sums: int, target: int) -> None:
        names = {v: k for k, v in vars(self.schema.ActivationFunctionType).items() if isinstance(v, int)}
        name = names[operator.builtinOptions.fusedActivationFunction]
        if name == "NONE":
            self.moved[target] = sums
            return
        operator.builtinOptions.fusedActivationFunction = self.schema.ActivationFunctionType.NONE
        self._operate(name, sums, target)

    def _tensor(self, like: int, suffix: bytes, grid: Grid | None = None) -> int:
        source, made = self.graph.tensors[like], self.schema.TensorT()
        made.name, made.shape, made.shapeSignature = (
            bytes(source.name or b"") + suffix,
            source.shape,
            source.shapeSignature,
        )
        made.hasRank, made.type = source.hasRank, self.schema.TensorType.FLOAT32
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
