"""Plans as one float file that any runtime runs: every grid stands there as QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import Operator
from quantdiff.ladder.advice.choices import OUTPUT, Plan
from quantdiff.ladder.lowered import RECODES
from quantdiff.ladder.real_graph import Grid, RealGraph
from quantdiff.load.rewire import VERSION
from quantdiff.load.written import packed, schema, unpacked
from quantdiff.quant import Array

TYPES = {(-128, 127): "INT8", (0, 255): "UINT8", (-32768, 32767): "INT16"}


def fake_quantized(model: bytes, plans: Sequence[Plan]) -> tuple[bytes, list[list[int]]]:
    """The file's graph in floats, once for each plan; what several plans compute alike stands there once.

    Returns:
        The file, and for each plan the places of its outputs among the file's.

    Raises:
        BadModel: it cannot be written so.
    """
    whole = unpacked(model)
    writer = _Writer(schema(), whole, plans[0].switches.file)
    try:
        ends = [writer.write(plan) for plan in plans]
        outputs = list(dict.fromkeys(i for each in ends for i in each))
        writer.finish(outputs, ends[0])
    except (struct.error, TypeError, AttributeError, KeyError) as error:
        raise BadModel(f"the model cannot be written in floats: {error}") from error
    return packed(whole), [[outputs.index(i) for i in each] for each in ends]


class _Writer:
    """The parts of a file in the making.

    ``made``: by operator and what it reads the tensors that it makes. ``restored``: by tensor and grid its values on
    that grid, as floats. ``constants``: by tensor and array where the array stands. ``taken`` are the tensors of the
    file that have been used; the next plan that computes them otherwise gets copies.
    """

    def __init__(self, schema: Any, model: Any, real: RealGraph) -> None:
        self.schema, self.model, self.graph, self.real = schema, model, model.subgraphs[0], real
        self.own = [*(self.graph.operators or ())]
        self.made: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}
        self.restored: dict[tuple[int, Grid], int] = {}
        self.constants: dict[tuple[int, int], int] = {}
        self.taken: set[int] = set()
        self.operators: list[Any] = []

    def write(self, plan: Plan) -> list[int]:
        """One plan's graph; where its outputs stand."""
        at = {
            tensor: self._constant(tensor, plan.constants.get(tensor, values))
            for tensor, values in self.real.constants.items()
            if self.real.graph.tensors[tensor].is_constant and values.dtype.kind == "f"
        }
        for tensor in self.real.graph.inputs:
            at[tensor] = self._put(plan, tensor, self._float(tensor, tensor))
        for operator in self.real.graph.operators:
            tensors, constants = operator.outputs, self.real.constants
            if operator.index in self.real.folded and constants[tensors[0]].dtype.kind == "f":
                at[tensors[0]] = self._constant(tensors[0], constants[tensors[0]])
                continue
            given = tuple(self._read(plan, at, i, operator.index) for i in operator.inputs)
            made = given[:1] if operator.op in RECODES else self._operator(operator, given)
            at |= {i: self._put(plan, i, place) for i, place in zip(tensors, made, strict=True)}
        return [self._read(plan, at, i, OUTPUT) for i in self.real.graph.outputs]

    def finish(self, outputs: list[int], named: Sequence[int]) -> None:
        """The graph with these outputs, of which those ``named`` have the names of the file's."""
        ends = dict(zip(self.real.graph.outputs, named, strict=True))
        self.graph.operators, self.graph.outputs = self.operators, outputs
        for signature in self.model.signatureDefs or ():
            for each in signature.outputs if signature.subgraphIndex == 0 else ():
                each.tensorIndex = ends.get(each.tensorIndex, each.tensorIndex)

    def _operator(self, operator: Operator, given: tuple[int, ...]) -> tuple[int, ...]:
        """What an operator makes of this; a state that it keeps is in float, too, and its own."""
        if (known := (operator.index, given)) in self.made:
            return self.made[known]
        written = copy(self.own[operator.index])
        states = {i for i in operator.inputs if i >= 0 and self.real.graph.tensors[i].is_variable}
        written.inputs = [self._float(self._place(i), i) if i in states else i for i in given]
        self.operators.append(written)
        written.outputs = [i if i < 0 else self._float(self._place(i), i) for i in operator.outputs]
        self.made[known] = tuple(written.outputs)
        return self.made[known]

    def _place(self, tensor: int) -> int:
        """A tensor of the file, a copy where that is taken."""
        if tensor not in self.taken:
            self.taken.add(tensor)
            return tensor
        self.graph.tensors.append(copy(self.graph.tensors[tensor]))
        return len(self.graph.tensors) - 1

    def _constant(self, tensor: int, values: Array) -> int:
        known = tensor, id(values)  # plans and the graph hold it for longer than this
        if known not in self.constants:
            self.constants[known] = place = self._place(tensor)
            found, buffer = self.graph.tensors[place], self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            found.buffer, found.type = len(self.model.buffers) - 1, self.schema.TensorType.FLOAT32
            found.quantization = found.sparsity = None
        return self.constants[known]

    def _float(self, place: int, tensor: int) -> int:
        if self.real.graph.tensors[tensor].grid is not None:
            self.graph.tensors[place].type = self.schema.TensorType.FLOAT32
            self.graph.tensors[place].quantization = None
        return place

    def _put(self, plan: Plan, tensor: int, place: int) -> int:
        """A tensor on the reference's own grid, whoever reads it."""
        own = plan.own.get(tensor)
        return place if own is None else self._restored(place, own)

    def _read(self, plan: Plan, at: dict[int, int], tensor: int, reader: int) -> int:
        """What an operator reads in a tensor's place."""
        grid = plan.grid(tensor, reader) if tensor >= 0 else None
        place = at.get(tensor, tensor)
        return place if grid is None else self._restored(place, grid)

    def _restored(self, source: int, grid: Grid) -> int:
        if (source, grid) not in self.restored:
            stored, restored = self._tensor(source, b"/stored", grid), self._tensor(source, b"/restored")
            self._operate("QUANTIZE", source, stored)
            self._operate("DEQUANTIZE", stored, restored)
            self.restored[source, grid] = restored
        return self.restored[source, grid]

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
