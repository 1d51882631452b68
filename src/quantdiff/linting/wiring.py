"""A subgraph with its operators, the words for their places, and the sane numbers of its tensors.

Of convolutions and dense layers also the stored weights and the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import numpy as np

from quantdiff.graph import Graph, Model, Operator, Tensor, follow
from quantdiff.ops import INTO_INTEGERS, TRAITS, traits
from quantdiff.quant import INTEGER_RANGE, Array, is_float
from quantdiff.sim.node import Node

LONGEST_NAME = 60  # characters; the converter joins the names of all ops that it fused


@dataclass(frozen=True, slots=True)
class Wiring:
    """One subgraph of ``model``; ``nodes`` in running order, as the graph's operators.

    ``known`` and ``rescaled`` keep what one check has found out for the next.
    """

    model: Model
    index: int
    nodes: tuple[Node, ...]
    varying: frozenset[int]
    rescaled: dict[int, Tensor | None] = field(default_factory=dict, compare=False, repr=False)
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def graph(self) -> Graph:
        """The subgraph itself."""
        return self.model.subgraphs[self.index]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that the caller fills."""
        return tuple(self.graph.tensors[i] for i in self.graph.inputs if i >= 0)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors that the caller reads."""
        return tuple(self.graph.tensors[i] for i in self.graph.outputs if i >= 0)

    def producer(self, tensor: Tensor | None) -> Node | None:
        """The operator that writes ``tensor``; None for inputs and constants."""
        maker = None if tensor is None else self.graph.producer(tensor.index)
        return None if maker is None else self.nodes[maker.index]

    def readers(self, tensor: Tensor) -> tuple[Node, ...]:
        """The operators that read ``tensor``."""
        return tuple(self.nodes[reader.index] for reader in self.graph.readers(tensor.index))

    def only_reader(self, tensor: Tensor) -> Node | None:
        """The one operator that reads ``tensor``, if nothing else does, the caller included."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and not self.graph.is_output(tensor.index) else None

    def varies(self, tensor: Tensor | None) -> bool:
        """True for what depends on the values of the input, or on what an operator remembers or draws."""
        return tensor is not None and tensor.index in self.varying

    def before_rescaling(self, tensor: Tensor | None) -> Tensor | None:
        """What a QUANTIZE brought onto this tensor's grid, perhaps before it was moved; None where none did."""
        return None if tensor is None else follow(tensor.index, self.rescaled, self._toward_rescaling)

    def _toward_rescaling(self, tensor: int) -> tuple[int | None, Tensor | None]:
        maker = self.producer(self.graph.tensors[tensor])
        if maker is None or not maker.inputs:
            return None, None
        if maker.operator.op == INTO_INTEGERS:
            return None, maker.inputs[0]
        known = traits(maker.operator.op)
        source = maker.inputs[known.x] if known.one_grid and not known.joins and known.x < len(maker.inputs) else None
        return (None if source is None else source.index), None

    def operator(self, node: Node) -> Location:
        """``operator 3 CONV_2D name``, by the name of what it writes."""
        name = short_name(node.outputs[0]) if node.outputs else ""
        text = f"{self._prefix}operator {node.operator.index} {node.operator.op} {name}".strip()
        return Location(text, self.index, node.operator.index)

    def tensor(self, tensor: Tensor, role: str = "tensor") -> Location:
        """``tensor 5 name``."""
        return Location(f"{self._prefix}{role} {tensor.index} {short_name(tensor)}".strip(), self.index)

    @property
    def _prefix(self) -> str:
        return f"subgraph {self.index}: " if len(self.model.subgraphs) > 1 else ""


def wirings(model: Model) -> Iterator[Wiring]:
    """Every subgraph of the model."""
    for index, graph in enumerate(model.subgraphs):
        nodes = tuple(_node(graph, operator) for operator in graph.operators)
        yield Wiring(model, index, nodes, _varying(graph))


def _varying(graph: Graph) -> frozenset[int]:
    """The tensors that are not the same in every run."""
    found = {*graph.inputs, *(tensor.index for tensor in graph.tensors if tensor.is_variable)}
    for operator in graph.operators:
        if _varies(operator, found):
            found.update(operator.outputs)
    return frozenset(found)


def _varies(operator: Operator, varying: set[int]) -> bool:
    """True when an operator's outputs are not the same in every run; of an op without a row nothing is sure."""
    known = traits(operator.op)
    if known.by_shape:
        return False
    return operator.op not in TRAITS or known.stateful or not varying.isdisjoint(i for i in operator.inputs if i >= 0)


def _node(graph: Graph, operator: Operator) -> Node:
    """As ``node_of``, but an output left out (-1) is left out."""
    inputs = tuple(graph.tensors[i] if i >= 0 else None for i in operator.inputs)
    return Node(operator, inputs, tuple(graph.tensors[i] for i in operator.outputs if i >= 0))


def short_name(tensor: Tensor) -> str:
    """The first of the joined names, cut where it is very long."""
    name = tensor.name.partition(";")[0]
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def scales(tensor: Tensor | None) -> Array | None:
    """The scales as float64 values of the file's float32; None unless all are positive and finite."""
    if tensor is None or tensor.quant is None or not tensor.quant.scale:
        return None
    scale = np.asarray(tensor.quant.scale, np.float64)
    return scale if bool(np.all(np.isfinite(scale) & (scale > 0))) else None


def scale(tensor: Tensor | None) -> float | None:
    """The scale of a tensor quantized as a whole; None when there is no such sane number."""
    if tensor is None or tensor.quant is None or len(tensor.quant.scale) != 1:
        return None
    (found,) = tensor.quant.scale
    return float(found) if 0 < found < inf else None


def zero_point(tensor: Tensor) -> int:
    """The zero point of a tensor quantized as a whole; 0 where none is stored."""
    return tensor.quant.zero_point[0] if tensor.quant and tensor.quant.zero_point else 0


def is_quantized(tensor: Tensor | None) -> bool:
    """True for integers with a scale."""
    return tensor is not None and tensor.dtype in INTEGER_RANGE and tensor.quant is not None


def is_float_value(tensor: Tensor | None) -> bool:
    """True for floats that are computed, or given by the caller."""
    return tensor is not None and is_float(tensor.dtype) and not tensor.is_constant


def is_integer_value(tensor: Tensor | None) -> bool:
    """True for quantized values of up to 16 bits that are computed, or given by the caller."""
    narrow = tensor is not None and tensor.dtype in {"int4", "int8", "uint8", "int16"}
    return narrow and is_quantized(tensor) and tensor is not None and not tensor.is_constant


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weighted:
    """``y = x · weights + bias`` with stored, quantized weights."""

    node: Node
    place: Location
    x: Tensor | None
    weights: Tensor
    bias: Tensor | None
    y: Tensor
    axis: int
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, find: Callable[[Weighted], T]) -> T:
        """What ``find`` says of the weights, looked for once: many operators may share them."""
        key = find, self.weights.index, self.axis
        if key not in self.known:
            self.known[key] = find(self)
        found: T = self.known[key]
        return found

    @property
    def per_channel(self) -> bool:
        """True when each output channel has a scale of its own."""
        return self.weights.quant is not None and self.weights.quant.axis is not None

    @property
    def multiplier(self) -> Array | None:
        """``s_x · s_w / s_y``, one for all channels or one each; None where a scale is missing or makes no sense."""
        s_x, s_w, s_y = scale(self.x), scales(self.weights), scale(self.y)
        return None if s_x is None or s_w is None or s_y is None else s_x * s_w / s_y

    @property
    def product_scale(self) -> Array | None:
        """``s_x · s_w``, rounded to float32 as ``GetQuantizedConvolutionMultipler`` does, where the bias is added."""
        s_x, s_w = scale(self.x), scales(self.weights)
        if s_x is None or s_w is None:
            return None
        with np.errstate(over="ignore", under="ignore"):  # a file may hold any scale
            return (np.float32(s_x) * s_w.astype(np.float32)).astype(np.float64)

    def rows(self) -> Array | None:
        """The stored integers, one row per output channel; None where the file packs or leaves out some."""
        data, shape = self.weights.data, self.weights.shape
        if data is None or data.shape != shape or self.axis >= data.ndim or not data.size:
            return None
        return np.moveaxis(data, self.axis, 0).reshape(shape[self.axis], -1)

    def zero_points(self) -> Array:
        """The weights' zero points: one, or one per channel as a column."""
        return np.asarray(self.weights.quant.zero_point if self.weights.quant else (0,), np.int64).reshape(-1, 1)

    def ends(self) -> tuple[Array, Array] | None:
        """Smallest and largest integer of each channel, counted from the zero point."""
        return self.once(_ends)

    def fits(self, rows: Array) -> bool:
        """True when there is one zero point, or one for each row."""
        return len(self.zero_points()) in (1, len(rows))

    def biases(self) -> Array | None:
        """The stored integer biases; None where there are none, or not one per channel."""
        if self.bias is None or self.bias.data is None or self.bias.dtype not in ("int32", "int64"):
            return None
        channels = self.weights.shape[self.axis] if self.axis < len(self.weights.shape) else -1
        return self.bias.data.reshape(-1) if self.bias.data.size == channels else None


def _ends(layer: Weighted) -> tuple[Array, Array] | None:
    rows = layer.rows()
    if rows is None or not layer.fits(rows):
        return None
    points = layer.zero_points()[:, 0]
    return rows.min(axis=1).astype(np.int64) - points, rows.max(axis=1).astype(np.int64) - points


def weighted(wiring: Wiring) -> Sequence[Weighted]:
    """The operators of a subgraph that have stored, quantized weights; looked for once, for all checks."""
    found: list[Weighted] | None = wiring.known.get(weighted)
    if found is None:
        found = wiring.known[weighted] = list(_weighted(wiring))
    return found


def _weighted(wiring: Wiring) -> Iterator[Weighted]:
    for node in wiring.nodes:
        known = traits(node.operator.op)
        weights = input_of(node, known.weights)
        if weights and weights.is_constant and is_quantized(weights) and node.outputs:
            x, bias = input_of(node, known.x), input_of(node, known.bias)
            place, y = wiring.operator(node), node.outputs[0]
            yield Weighted(node, place, x, weights, bias, y, known.channel_axis, wiring.known)


def input_of(node: Node, position: int | None) -> Tensor | None:
    """The input at ``position``; None where there is none, or the op has none."""
    return node.inputs[position] if position is not None and position < len(node.inputs) else None


def listed(channels: Array, total: int) -> str:
    """``2 of 64 channels (3, 17)``, the first few by index."""
    shown = ", ".join(map(str, channels[:4].tolist()))
    return f"{len(channels)} of {total} channels ({shown}{', …' if len(channels) > 4 else ''})"  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the model: an operator or tensor of a subgraph, or a layer of the reference."""

    text: str
    subgraph: int | None = None
    operator: int | None = None
