"""A float graph of TFLite operators in the making: values by the program's names, each in an order of axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.graph import Graph, Model, Operator, Signature, Tensor
from quantdiff.ops import Layer
from quantdiff.quant import Array, QuantParams
from quantdiff.references.onnx.program import Node, Program

Order = tuple[int, ...]
"""For each axis of a tensor the axis of the program's value; (0, 2, 3, 1) of an image with its channels last."""


class Untranslated(Exception):
    """An operator that cannot be said in TFLite's, or not with these options; the message says what."""


def plain(rank: int) -> Order:
    """The axes as they are."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """The second axis at the end."""
    return (0, *range(2, rank), 1)


@dataclass(slots=True)
class Builder:
    """Tensors and operators so far.

    ``forms``: by value the tensors that hold it, by their order of axes; the first is the one that was computed.
    ``unknown``: the operators that TFLite's cannot say. ``inner``: by value the sums inside the operator that gives it.
    """

    program: Program
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    forms: dict[str, dict[Order, int]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    inner: dict[str, list[Layer]] = field(default_factory=dict)

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32", **more: Any) -> int:
        """A new tensor."""
        self.tensors.append(Tensor(len(self.tensors), name, tuple(map(int, shape)), dtype, **more))
        return len(self.tensors) - 1

    def constant(self, value: Array, name: str = "") -> int:
        """A new constant: floats as float32, whole numbers as they are."""
        value = np.asarray(value, np.float32 if value.dtype.kind == "f" else value.dtype, order="C")
        return self.tensor(name, value.shape, value.dtype.name, data=value)

    def integers(self, *values: int) -> int:
        """A constant of whole numbers, one axis."""
        return self.constant(np.array(values, np.int32))

    def emit(self, op: str, inputs: Sequence[int], shape: Sequence[int], name: str = "", **options: Any) -> int:
        """A new operator with one float output of ``shape``."""
        index = self.tensor(name, shape)
        self.append(op, inputs, (index,), options)
        return index

    def append(self, op: str, inputs: Sequence[int], outputs: Sequence[int], options: Mapping[str, Any]) -> None:
        """A new operator, between tensors that are there."""
        self.operators.append(Operator(len(self.operators), op, tuple(inputs), tuple(outputs), options=dict(options)))

    def shape(self, name: str) -> tuple[int, ...]:
        """The value's shape for one sample, in its own order of axes."""
        value, samples = self.program.examples[name], self.program.samples
        if value.ndim and samples > 1 and value.shape[0] % samples == 0:
            return (value.shape[0] // samples, *value.shape[1:])
        return tuple(value.shape)

    def fixed(self, name: str) -> Array | None:
        """The value of what does not depend on the data."""
        return self.program.constants.get(name)

    def need(self, name: str) -> Array:
        """The same, where nothing else will do.

        Raises:
            Untranslated: it depends on the data.
        """
        found = self.fixed(name)
        if found is None:
            raise Untranslated(f"{name} depends on the data")
        return found

    def is_samples(self, axis: int) -> bool:
        """Whether an axis of a value counts samples; none does where they run one by one."""
        return axis == 0 and self.program.samples > 1

    def rank(self, name: str) -> int:
        """How many axes a value has."""
        found = self.fixed(name)
        return len(self.shape(name)) if found is None else found.ndim

    def order(self, name: str) -> Order:
        """The order in which a value was computed."""
        return next(iter(self.forms[name]))

    def hold(self, name: str, tensor: int, order: Order) -> None:
        """A tensor holds a value in an order of axes."""
        self.forms.setdefault(name, {}).setdefault(order, tensor)

    def give(self, node: Node, op: str, inputs: Sequence[int], order: Order, **options: Any) -> int:
        """The operator that makes a node's only output, in an order of axes."""
        (name,) = node.outputs[:1]
        shape = self.shape(name)
        index = self.emit(op, inputs, [shape[axis] for axis in order], self.names.get(name, name), **options)
        self.hold(name, index, order)
        return index

    def take(self, name: str, order: Order) -> int:
        """The tensor that holds a value in an order of axes; it is moved there where none does."""
        forms = self.forms.setdefault(name, {})
        if order in forms:
            return forms[order]
        constant = self.fixed(name)
        if constant is not None:
            forms[order] = self.constant(broadcast(constant, len(order)).transpose(order), name)
            return forms[order]
        own, tensor = next(iter(forms.items()))
        if len(own) != len(order):
            raise Untranslated(f"{name} has {len(own)} axes beside {len(order)}")
        forms[order] = self.moved(tensor, [own.index(axis) for axis in order])
        return forms[order]

    def moved(self, tensor: int, axes: Sequence[int]) -> int:
        """A tensor with its axes in another order; nothing but another shape where those longer than 1 keep theirs."""
        have = self.tensors[tensor]
        shape = [have.shape[axis] for axis in axes]
        long = [axis for axis in axes if have.shape[axis] != 1]
        if long == sorted(long):
            return self.emit("RESHAPE", (tensor, self.integers(*shape)), shape, have.name)
        return self.emit("TRANSPOSE", (tensor, self.integers(*axes)), shape, have.name)

    def model(self) -> Model:
        """The graph as a file would hold it: inputs and outputs in the program's own order of axes."""
        inputs = [next(iter(self.forms[slot.name].values())) for slot in self.program.inputs]
        outputs = [self.take(name, plain(self.rank(name))) for name in self.program.outputs]
        graph = Graph("main", tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))
        taken = tuple((slot.name, i) for slot, i in zip(self.program.inputs, inputs, strict=True))
        given = tuple(zip(self.program.outputs, outputs, strict=True))
        return Model((graph,), (Signature("serving_default", taken, given),), description=self.program.name)


Translation = Callable[[Builder, Node], object]
TRANSLATIONS: dict[str, Translation] = {}
"""By operator of ONNX how it is said in TFLite's."""


def translates(*ops: str) -> Callable[[Translation], Translation]:
    """Register how operators are translated."""

    def register(function: Translation) -> Translation:
        TRANSLATIONS.update(dict.fromkeys(ops, function))
        return function

    return register


def broadcast(value: Array, rank: int) -> Array:
    """With axes of 1 in front, as broadcasting counts them from the end."""
    return value.reshape(*[1] * (rank - value.ndim), *value.shape)


def grid_of(dtype: str, scale: Array, zero_point: Array | None) -> QuantParams:
    """One scale for the whole tensor.

    Raises:
        Untranslated: scales by channel, of an activation, or integers that TFLite does not have.
    """
    if scale.size != 1 or dtype not in ("int8", "uint8", "int16"):
        raise Untranslated(f"an activation in {dtype} with {scale.size} scales")
    zero = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
    return QuantParams((float(np.float32(scale.reshape(-1)[0])),), (zero,))
