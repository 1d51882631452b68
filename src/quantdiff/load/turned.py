"""A model whose ends take and give their values as they lie in another model: in its order of axes, in its shape."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantdiff.load.data import Order
from quantdiff.load.written import packed, schema, unpacked

SMALL = 127  # numbers of operators up to here stand in the older field too


@dataclass(frozen=True, slots=True)
class Lie:
    """How a tensor's values lie elsewhere.

    Attributes:
        shape: the one that they have there.
        order: how the tensor's own axes, samples aside, are turned to be those; () where they lie alike.
    """

    shape: tuple[int, ...]
    order: Order = ()

    def fits(self, own: tuple[int, ...]) -> bool:
        """Whether values of this shape can lie so."""
        if self.order:
            return len(own) == len(self.order) + 1 and tuple(own[axis] for axis in self.axes) == self.shape
        return own[:1] == self.shape[:1] and np.prod(own) == np.prod(self.shape)

    @property
    def axes(self) -> tuple[int, ...]:
        """The order with the samples in front."""
        return (0, *(axis + 1 for axis in self.order))


def turned_ends(content: bytes, inputs: Sequence[Lie], outputs: Sequence[Lie]) -> bytes:
    """The model with a TRANSPOSE, or a RESHAPE, at each end that lies otherwise; each fits its tensor.

    Raises:
        BadModel: it cannot be written.
    """
    model = unpacked(content)
    graph = model.subgraphs[0]
    graph.inputs, before = _moved(model, graph.inputs, inputs, out=False)
    graph.outputs, behind = _moved(model, graph.outputs, outputs, out=True)
    graph.operators = [*before, *graph.operators, *behind]
    return packed(model)


def _moved(model: Any, ends: Sequence[int], lies: Sequence[Lie], *, out: bool) -> tuple[list[int], list[Any]]:
    """The ends as they lie elsewhere, and the operators that make them so."""
    tensors, found, moves = model.subgraphs[0].tensors, [int(i) for i in ends], list[Any]()
    for place, lie in enumerate(lies):
        if lie.order or lie.shape != tuple(int(n) for n in tensors[found[place]].shape):
            moves.append(_move(model, found[place], lie, out))
            found[place] = len(tensors) - 1
    return found, moves


def _move(model: Any, tensor: int, lie: Lie, out: bool) -> Any:
    """An operator between a tensor and the same values as they lie elsewhere, which are the graph's last tensor."""
    tables, graph = schema(), model.subgraphs[0]
    own = [int(n) for n in graph.tensors[tensor].shape]
    if lie.order:
        op, told = "TRANSPOSE", list(lie.axes if out else np.argsort(lie.axes))
    else:
        op, told = "RESHAPE", list(lie.shape) if out else own
    model.buffers.append(tables.BufferT())
    model.buffers[-1].data = np.frombuffer(np.asarray(told, np.int32).tobytes(), np.uint8)
    constant = tables.TensorT()
    constant.name, constant.shape, constant.buffer = b"", [len(told)], len(model.buffers) - 1
    constant.type, constant.hasRank = tables.TensorType.INT32, True
    other = copy(graph.tensors[tensor])
    other.shape, other.shapeSignature = [*lie.shape], None
    graph.tensors += [constant, other]
    there, told_by = len(graph.tensors) - 1, len(graph.tensors) - 2
    code = tables.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(tables.BuiltinOperator, op)
    code.version = 1
    model.operatorCodes.append(code)
    made = tables.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = ([tensor, told_by], [there]) if out else ([there, told_by], [tensor])
    return made
