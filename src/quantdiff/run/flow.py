"""Flow: every value that a model computes on its way, who feeds whom; the same for a Keras model and a ``.tflite``."""

from __future__ import annotations

from dataclasses import dataclass

from quantdiff.graph import Graph, Model, Operator, Tensor, is_float
from quantdiff.quant import QuantParams
from quantdiff.trace import Grid

GRIDS = ("int8", "uint8", "int16")
INTO_FLOAT = "DEQUANTIZE"


@dataclass(frozen=True, slots=True)
class Place:
    """One value: what one call of a Keras layer gives, or an operator of the file; ``Flow.inputs`` have no maker.

    ``key`` is the number of the value in a Keras model, the tensor's index in a ``.tflite``. ``op`` is the layer's
    class or the operator. ``feeds`` are the places that it is computed from. ``grid`` are the integers it lies on.
    """

    key: int
    name: str
    op: str
    feeds: tuple[int, ...] = ()
    quant: QuantParams | None = None
    grid: Grid | None = None
    operator: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """The places of a model in the order of computation. ``inputs`` and ``outputs`` are keys, in the model's order."""

    engine: str
    places: tuple[Place, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def by_key(self) -> dict[int, Place]:
        """Key → place."""
        return {place.key: place for place in self.places}

    def ancestors(self) -> dict[int, frozenset[int]]:
        """Key → all places that the place is computed from."""
        known: dict[int, frozenset[int]] = {}
        for place in self.places:
            known[place.key] = frozenset(place.feeds).union(*(known.get(key, frozenset()) for key in place.feeds))
        return known


def tflite_flow(model: Model, engine: str) -> Flow:
    """The floating-point and quantized values of the main subgraph that depend on its inputs."""
    graph = model.main
    places = {i: _place(graph, i, None, ()) for i in graph.inputs if _counts(graph.tensors[i])}
    behind: dict[int, tuple[int, ...]] = {i: (i,) if i in places else () for i in graph.inputs}
    for operator in graph.operators:
        fed = [i for i in operator.inputs if i in behind]
        feeds = tuple(dict.fromkeys(key for i in fed for key in behind[i]))
        for index in operator.outputs if fed else ():
            counts = _counts(graph.tensors[index])
            behind[index] = (index,) if counts else feeds
            if counts:
                places[index] = _place(graph, index, operator, feeds)
    ends = (tuple(i for i in side if i in places) for side in (graph.inputs, graph.outputs))
    return Flow(engine, tuple(places.values()), *ends)


def _place(graph: Graph, index: int, operator: Operator | None, feeds: tuple[int, ...]) -> Place:
    """A float made from integers by DEQUANTIZE lies on their grid."""
    tensor, grid = graph.tensors[index], _own_grid(graph.tensors[index])
    quant, op, number = tensor.quant if grid else None, "input", None
    if operator is not None:
        op, number = operator.op, operator.index
        if op == INTO_FLOAT:
            grid = _own_grid(graph.tensors[operator.inputs[0]])
    return Place(index, tensor.name, op, feeds, quant, grid, number)


def _own_grid(tensor: Tensor) -> Grid | None:
    if tensor.quant is None or tensor.quant.axis is not None or tensor.dtype not in GRIDS:
        return None
    return Grid(tensor.quant, tensor.dtype, tensor.name)


def _counts(tensor: Tensor) -> bool:
    return not tensor.is_constant and (is_float(tensor.dtype) or _own_grid(tensor) is not None)
