"""Plans as one file that any runtime runs: the file's own kernels, in floats what a plan wants otherwise.

Between the two stand QUANTIZE and DEQUANTIZE, as converters put them there. What a plan leaves alone is computed by
the same kernels on the same integers as in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import Operator, Tensor
from quantdiff.ladder.advice.plans import (
    INT8,
    OUTPUT,
    Plan,
    Planned,
    Tries,
)
from quantdiff.ladder.matching import ACTIVATION
from quantdiff.ladder.real_graph import Grid, RealGraph
from quantdiff.load.written import end_of_name, packed, restating, schema, unpacked
from quantdiff.ops import INTO_FLOAT, RECODES, traits
from quantdiff.quant import INTEGER_RANGE, Array

TYPES = {(-128, 127): "INT8", (0, 255): "UINT8", (-32768, 32767): "INT16"}
WIDE = ("int32", "int64")
"""Biases."""


def planned(model: bytes, plans: Sequence[Plan], *, ends: bool = False) -> Planned:
    """The file's graph, once for each plan; what several plans compute alike stands there once.

    Outputs are floats; with ``ends``, of one plan, inputs and outputs have the file's types.

    Raises:
        BadModel: it cannot be written so.
    """
    real = plans[0].switches.file
    if not real.is_plain:
        raise BadModel("variables, and what loops and branches hold, cannot be written otherwise")
    whole = unpacked(model)
    try:
        writer = _Writer(schema(), whole, real, ends)
        made = [writer.write(plan) for plan in plans]
        outputs = list(dict.fromkeys(i for each in made for i in each))
        inputs = writer.finish(outputs, made[0])
    except (struct.error, TypeError, AttributeError, KeyError) as error:
        raise BadModel(f"the model cannot be written otherwise: {error}") from error
    return Planned(packed(whole), inputs, [[outputs.index(i) for i in each] for each in made])


@dataclass(frozen=True, slots=True)
class _At:
    """Where the values of a tensor stand; on which grid as integers, None for floats and for what counts."""

    place: int
    grid: Grid | None = None


class _Writer:
    """The parts of a file in the making.

    ``made``: by operator, what it reads and the grids that it makes, the tensors that it makes. ``stored`` and
    ``restored``: by tensor and grid its values on that grid, as integers and as floats. ``constants``: by tensor, array
    and scale where the array stands. ``taken`` are the tensors of the file that have been used; the next plan that
    computes them otherwise gets copies of what was ``filed``. ``inputs``: as integers and as floats. ``at``: where the
    tensors of the plan in hand stand.
    """

    def __init__(self, schema: Any, model: Any, real: RealGraph, ends: bool) -> None:
        self.schema, self.model, self.graph, self.real, self.ends = schema, model, model.subgraphs[0], real, ends
        self.own, self.filed = [*(self.graph.operators or ())], [copy(tensor) for tensor in self.graph.tensors]
        self.made: dict[tuple[int, tuple[int, ...], tuple[Grid | None, ...]], tuple[int, ...]] = {}
        self.stored: dict[tuple[int, Grid], int] = {}
        self.restored: dict[int, int] = {}
        self.constants: dict[tuple[int, int, bytes], int] = {}
        self.inputs: dict[int, tuple[int, int]] = {}
        self.at: dict[int, _At] = {}
        self.taken: set[int] = set()
        self.operators: list[Any] = []
        pairs = ((op.index, k, i) for op in real.graph.operators for k, i in enumerate(op.inputs))
        self.stands_for = {i: int(self.own[op].inputs[k]) for op, k, i in pairs if i >= len(self.filed)}

    def write(self, plan: Plan) -> list[int]:
        """One plan's graph; where its outputs stand."""
        at = self.at = {i: self._input(plan, i) for i in self.real.graph.inputs}
        stay = {operator.index for operator in self.real.operators if self._stays(plan, operator)}
        for operator in self.real.graph.operators:
            if operator.index in self.real.folded and self.real.constants[operator.outputs[0]].dtype.kind == "f":
                continue  # written where it is read
            if operator.op in RECODES and not self._recodes(plan, operator, at, stay):
                at[operator.outputs[0]] = _At(self._float_of(plan, at, operator.inputs[0], operator.index))
                continue
            whole = operator.index in stay or operator.op in RECODES
            given = tuple(self._read(plan, at, operator, i, whole=whole) for i in operator.inputs)
            grids = tuple(plan.grids.get(i) if whole else None for i in operator.outputs)
            places = self._operator(operator, given, grids, whole=whole)
            at |= {
                i: self._put(plan, i, _At(place, grid))
                for i, place, grid in zip(operator.outputs, places, grids, strict=True)
            }
        return [self._output(plan, at, i) for i in self.real.graph.outputs]

    def finish(self, outputs: list[int], named: Sequence[int]) -> list[int]:
        """The graph with these outputs, of which those ``named`` have the names of the file's; and its inputs."""
        ends = dict(zip(self.real.graph.outputs, named, strict=True))
        used = {int(i) for operator in self.operators for i in operator.inputs} | {*outputs}
        kept = list[tuple[int, int]]()
        for k, tensor in enumerate(self.real.graph.inputs):
            kept += [(k, each) for each in self.inputs.get(tensor, (tensor,)) if each in used] or [(k, tensor)]
        self.graph.operators, self.graph.inputs, self.graph.outputs = self.operators, [i for _, i in kept], outputs
        for signature in self.model.signatureDefs or ():
            for each in signature.outputs if signature.subgraphIndex == 0 else ():
                each.tensorIndex = ends.get(each.tensorIndex, each.tensorIndex)
        if not self.ends:
            self.model.signatureDefs = None  # which would name inputs that are not there
        return [k for k, _ in kept]

    def _stays(self, plan: Plan, operator: Operator) -> bool:
        """Whether the file's own kernel computes an operator under a plan: on integers, or on the floats it has."""
        if plan.level(operator.index) != INT8 or operator.op in RECODES:
            return False
        tensors, known = self.real.graph.tensors, traits(operator.op)
        ends = (i for i in (*operator.inputs, *operator.outputs) if i >= 0 and not tensors[i].is_variable)
        rounded = [i for i in ends if tensors[i].grid is not None and i not in self.real.constants]
        changed = [i for i in operator.inputs if i in plan.constants and i not in plan.scales]
        bias = None if known.bias is None or known.bias >= len(operator.inputs) else operator.inputs[known.bias]
        stored = all(i == bias and tensors[i].dtype in WIDE for i in changed)
        kept = all(i in plan.grids and i not in plan.own and self._fits(i, plan.grids[i]) for i in rounded)
        alike = stored and kept and known.one_grid and len({_scale(self.real.grids[i]) for i in rounded}) == 1
        return stored and kept and (not alike or len({_scale(plan.grids[i]) for i in rounded}) == 1)

    def _fits(self, tensor: int, grid: Grid) -> bool:
        """Whether a grid has the integers of the file's tensor."""
        return (grid.low, grid.high) == (self.real.grids[tensor].low, self.real.grids[tensor].high)

    def _recodes(self, plan: Plan, operator: Operator, at: dict[int, _At], stay: set[int]) -> bool:
        """Whether an operator that restates stands under a plan as it does in the file.

        Else it is as if it were not there: what is read behind it is as fine as what stands before it.
        """
        source, target = at.get(operator.inputs[0]), operator.outputs[0]
        if operator.op == INTO_FLOAT:
            return source is not None and source.grid is not None
        graph = self.real.graph
        readers = graph.readers(target)
        known = source is not None and (source.grid is not None or graph.tensors[operator.inputs[0]].grid is None)
        kept = target in plan.grids and target not in plan.own and known
        kept &= all(each.index in stay or each.op == INTO_FLOAT for each in readers)
        return kept and not (graph.is_output(target) and source is not None and source.grid is None and not self.ends)

    def _operator(
        self, operator: Operator, given: tuple[int, ...], grids: tuple[Grid | None, ...], *, whole: bool
    ) -> tuple[int, ...]:
        """What an operator makes of this; a state that it keeps is its own."""
        if (known := (operator.index, given, grids)) in self.made:
            return self.made[known]
        written, typed = copy(self.own[operator.index]), self._filed_place if whole else self._float
        states = {i for i in operator.inputs if i >= 0 and self.real.graph.tensors[i].is_variable}
        written.inputs = [typed(i) if i in states else place for i, place in zip(operator.inputs, given, strict=True)]
        self._activate(written, operator)
        self.operators.append(written)
        written.outputs = [i if i < 0 else typed(i) for i in operator.outputs]
        for i, place, grid in zip(operator.outputs, written.outputs, grids, strict=True):
            if grid is not None and grid != self.real.grids[i]:
                self._scaled(place, [grid.scale], [grid.zero_point])
        self.made[known] = tuple(written.outputs)
        return self.made[known]

    def _activate(self, written: Any, operator: Operator) -> None:
        """Give an operator the activation that in the file only its grid performs."""
        name, options = str(operator.options.get(ACTIVATION, "NONE")), written.builtinOptions
        kind = getattr(self.schema.ActivationFunctionType, name, None)
        if kind is not None and getattr(options, "fusedActivationFunction", kind) != kind:
            written.builtinOptions = copy(options)
            written.builtinOptions.fusedActivationFunction = kind

    def _read(self, plan: Plan, at: dict[int, _At], operator: Operator, tensor: int, *, whole: bool) -> int:
        """What an operator reads in a tensor's place."""
        if tensor < 0 or self.real.graph.tensors[tensor].is_variable:
            return tensor
        if not whole:
            return self._float_of(plan, at, tensor, operator.index)
        if tensor in at:
            grid = plan.grids.get(tensor)
            return self._floats(at[tensor]) if grid is None else self._integers(at[tensor], grid)
        return self._constant(tensor, *self._stored(plan, operator, tensor))

    def _float_of(self, plan: Plan, at: dict[int, _At], tensor: int, reader: int) -> int:
        """A tensor as floats, as coarse as a plan has it; what counts as it is."""
        if tensor in at:
            grid = plan.grid(tensor, reader)
            return self._floats(at[tensor] if grid is None else _At(self._integers(at[tensor], grid), grid))
        values = self.real.constants.get(tensor)
        if values is None or values.dtype.kind != "f":
            return tensor
        return self._constant(tensor, plan.constants.get(tensor, values))

    def _input(self, plan: Plan, tensor: int) -> _At:
        self.taken.add(tensor)
        if self.ends and (grid := plan.grids.get(tensor)) is not None:
            if grid != self.real.grids[tensor]:
                self._scaled(tensor, [grid.scale], [grid.zero_point])
            return _At(tensor, grid)
        if self.real.graph.tensors[tensor].grid is None:
            return self._put(plan, tensor, _At(tensor))
        if tensor not in self.inputs:  # as integers it is given; nothing in the file rounds it
            self.inputs[tensor] = tensor, self._tensor(tensor, b"/float")
            self.stored[self.inputs[tensor][1], self.real.grids[tensor]] = tensor
        return self._put(plan, tensor, _At(self.inputs[tensor][1]))

    def _output(self, plan: Plan, at: dict[int, _At], tensor: int) -> int:
        if self.ends and (grid := plan.grids.get(tensor)) is not None:
            return self._integers(at[tensor], grid)
        return self._float_of(plan, at, tensor, OUTPUT)

    def _put(self, plan: Plan, tensor: int, made: _At) -> _At:
        """A tensor on the reference's own grid, whoever reads it."""
        own = plan.own.get(tensor)
        return made if own is None else _At(self._floats(_At(self._integers(made, own), own)))

    def _stored(self, plan: Plan, operator: Operator, tensor: int) -> tuple[Array | None, Array | None, int]:
        """A constant of an operator that stays, its scale and zero point; no values where it is as in the file.

        The step of a bias is that of the input times that of the weights, whichever of them changed.
        """
        if tensor in plan.scales:
            return plan.constants[tensor], plan.scales[tensor], 0
        known, held, grids = traits(operator.op), self.real.graph.tensors[tensor], self.real.grids
        values = plan.constants.get(tensor, self.real.constants.get(tensor))
        places = known.x, known.weights, known.bias
        x, weights, bias = (operator.inputs[k] if k is not None and k < len(operator.inputs) else -1 for k in places)
        quant = self.real.graph.tensors[weights].quant
        if tensor == bias and held.dtype in WIDE and x in grids and quant is not None:
            step = plan.grids[x]
            if weights in plan.scales or step != grids[x] or tensor in plan.constants:
                own = plan.scales.get(weights, np.asarray(quant.scale, np.float32)).reshape(-1)
                scale = np.float32(step.scale) * own.astype(np.float64)
                return values, scale.reshape(_along(held, own.size)), 0
        grid = plan.grids.get(operator.outputs[0])
        moved = grid is not None and grid != grids[operator.outputs[0]] and (known.one_grid or known.joins)
        if grid is not None and moved and held.quant is not None and tensor not in (weights, bias):
            return values, np.asarray([grid.scale], np.float32), grid.zero_point  # an operand on the grid of the others
        return None, None, 0

    def _constant(self, tensor: int, values: Array | None, scale: Array | None = None, zero_point: int = 0) -> int:
        """A constant as floats, or as integers with a scale; as it stands in the file where nothing is given."""
        key = tensor, id(values), b"" if scale is None else scale.tobytes()  # plans hold the arrays for longer
        if key in self.constants:
            return self.constants[key]
        if values is None:
            maker = self.real.graph.producer(tensor)
            if maker is not None:  # which computes on constants alone, or on the shape of what varies
                given = tuple(i if i < 0 else self._place_of(i) for i in maker.inputs)
                made = self._operator(maker, given, (None,) * len(maker.outputs), whole=True)
                self.constants[key] = made[maker.outputs.index(tensor)]
            else:
                self.constants[key] = self._filed_place(self.stands_for.get(tensor, tensor))
            return self.constants[key]
        self.constants[key] = place = self._filed_place(tensor)
        buffer, held = self.schema.BufferT(), self.graph.tensors[place]
        if scale is None:
            self._as_float(place, None)
            data, held.sparsity = np.ascontiguousarray(values, np.float32), None
        else:
            dtype = self.real.graph.tensors[tensor].dtype
            codes = np.clip(np.rint(values / scale) + zero_point, *INTEGER_RANGE[dtype])
            data, axis = codes.astype(dtype), int(np.argmax(scale.shape)) if scale.ndim > 1 else 0
            self._scaled(place, scale.reshape(-1), [zero_point] * scale.size, axis)
        if self.real.graph.producer(tensor) is not None:  # of what an operator gives, the file's shape is a claim
            held.shape, held.shapeSignature = np.asarray(data.shape, np.int32), None
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        held.buffer = len(self.model.buffers) - 1
        return place

    def _place_of(self, tensor: int) -> int:
        """Where a tensor stands, whatever its type."""
        return self.at[tensor].place if tensor in self.at else self._constant(tensor, None)

    def _filed_place(self, tensor: int) -> int:
        """A tensor of the file, a copy where that is taken."""
        if tensor not in self.taken and tensor < len(self.filed):
            self.taken.add(tensor)
            return tensor
        self.graph.tensors.append(copy(self.filed[self.stands_for.get(tensor, tensor)]))
        return len(self.graph.tensors) - 1

    def _float(self, tensor: int) -> int:
        """A tensor of the file that lies on no grid."""
        return self._as_float(self._filed_place(tensor), tensor)

    def _as_float(self, place: int, tensor: int | None) -> int:
        if tensor is None or self.real.graph.tensors[tensor].grid is not None:
            self.graph.tensors[place].type = self.schema.TensorType.FLOAT32
            self.graph.tensors[place].quantization = None
        return place

    def _scaled(self, place: int, scale: Any, zero_point: Any, axis: int = 0) -> None:
        """Another grid, without what was stored of ranges."""
        made = self.schema.QuantizationParametersT()
        made.scale, made.zeroPoint = np.asarray(scale, np.float32), np.asarray(zero_point, np.int64)
        made.quantizedDimension = axis
        self.graph.tensors[place].quantization = made

    def _integers(self, made: _At, grid: Grid) -> int:
        """Values on a grid."""
        if made.grid == grid:
            return made.place
        source = self._floats(made)
        if (source, grid) not in self.stored:
            self.stored[source, grid] = stored = self._tensor(source, b"/stored", grid)
            self.operators.append(restating(self.schema, self.model, "QUANTIZE", source, stored))
        return self.stored[source, grid]

    def _floats(self, made: _At) -> int:
        if made.grid is None:
            return made.place
        if made.place not in self.restored:
            self.restored[made.place] = restored = self._tensor(made.place, b"/restored")
            self.operators.append(restating(self.schema, self.model, "DEQUANTIZE", made.place, restored))
        return self.restored[made.place]

    def _tensor(self, like: int, suffix: bytes, grid: Grid | None = None) -> int:
        source, made = self.graph.tensors[like], self.schema.TensorT()
        made.name = end_of_name(source) + suffix
        made.shape, made.shapeSignature, made.hasRank = source.shape, source.shapeSignature, source.hasRank
        made.type = self.schema.TensorType.FLOAT32
        self.graph.tensors.append(made)
        if grid is not None:
            made.type = getattr(self.schema.TensorType, TYPES[grid.low, grid.high])
            self._scaled(len(self.graph.tensors) - 1, [grid.scale], [grid.zero_point])
        return len(self.graph.tensors) - 1


def _along(bias: Tensor, count: int) -> list[int]:
    """The shape of a bias' scales: along its own axis, which in a bias of several axes is not the first."""
    axis = bias.quant.axis if bias.quant is not None else None
    return [-1] if axis is None or count == 1 else [-1 if k == axis else 1 for k in range(len(bias.shape))]


def _scale(grid: Grid) -> tuple[float, int]:
    return grid.scale, grid.zero_point


AT_ONCE, BYTES_AT_ONCE = 16, 2**26
"""Plans in one file, and what their constants may take in it, of which each has its own."""


def files_of(plans: Sequence[Plan], content: bytes) -> Iterator[Tries]:
    """The plans, several in one file."""
    yield from (Tries(planned(content, some)) for some in groups_of(plans))


def groups_of(plans: Sequence[Plan]) -> Iterator[Sequence[Plan]]:
    """As many plans at once as one file may hold."""
    held = sum(values.size for values in plans[0].switches.file.constants.values()) * 4 if plans else 0
    size = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(1, held)))
    yield from (plans[start : start + size] for start in range(0, len(plans), size))
