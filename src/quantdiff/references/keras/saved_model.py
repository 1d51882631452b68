"""A SavedModel without Keras inside: the graph of its signature, with every value on the way and its constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed
from quantdiff.extras import require
from quantdiff.flow import Flow, FlowValue
from quantdiff.layer import BatchNorm, Layer
from quantdiff.quant import Array
from quantdiff.recording import Comparand, ErrorStats, measured
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.keras.run import failing
from quantdiff.trace import Value

FREEZE = "tensorflow.python.framework.convert_to_constants"
OPS = {
    "MatMul": "FULLY_CONNECTED",
    "BatchMatMulV2": "BATCH_MATMUL",
    "Conv2D": "CONV_2D",
    "DepthwiseConv2dNative": "DEPTHWISE_CONV_2D",
    "Conv2DBackpropInput": "TRANSPOSE_CONV",
    "AddV2": "ADD",
    "BiasAdd": "ADD",
    "ConcatV2": "CONCATENATION",
    "MaxPool": "MAX_POOL_2D",
    "AvgPool": "AVERAGE_POOL_2D",
    "Relu": "RELU",
    "Relu6": "RELU6",
    "Sigmoid": "LOGISTIC",
    "GatherV2": "GATHER",
}
"""TensorFlow's operation → TFLite's word."""
WEIGHTED = ("MatMul", "Conv2D", "DepthwiseConv2dNative")
NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
ALIASES = ("Identity", "StopGradient", "PreventGradient", "CheckNumerics")
OWN = "/quantdiff_own"


class FrozenGraph:
    """The graph of a signature with its variables as constants and its functions written out."""

    def __init__(self, model: KerasModel) -> None:
        freeze = require(FREEZE, extra="keras").convert_variables_to_constants_v2
        with failing(model.name), quiet():
            self.function = freeze(model.model.function)
        self.model, self.definition = model, self.function.graph.as_graph_def()
        self.nodes: dict[str, Any] = {node.name: node for node in self.definition.node}
        given = model.model.function.structured_input_signature[1]
        wanted = [given[slot.name].name for slot in model.inputs]
        placeholders = {t.op.name: t for t in self.function.inputs}
        self.inputs = [placeholders.get(name, t) for name, t in zip(wanted, self.function.inputs, strict=False)]
        if len(self.inputs) != len(model.inputs):
            raise RuntimeFailed(f"{model.name}: its signature's graph has other inputs than the signature says")
        self.outputs: list[Any] = list(self.function.outputs)

    @cached_property
    def tensors(self) -> tuple[Any, ...]:
        """Inputs, then every float that depends on them, in the graph's order; what only repeats another aside."""
        found, behind = list(self.inputs), {t.op.name for t in self.inputs}
        for op in self.function.graph.get_operations():
            if op.name not in behind and any(t.op.name in behind for t in op.inputs):
                behind.add(op.name)
                found += [t for t in op.outputs[:1] if t.dtype.is_floating and op.type not in ALIASES]
        known = {t.name for t in found}
        return (*found, *(t for t in self.outputs if self.source(t).name not in known))

    def source(self, tensor: Any) -> Any:
        """The tensor that an alias repeats."""
        while tensor.op.type in ALIASES and len(tensor.op.inputs):
            tensor = tensor.op.inputs[0]
        return tensor

    def constant(self, tensor: Any) -> Array | None:
        """The values of a tensor that the graph holds; None for others."""
        source = self.source(tensor)
        if source.op.type != "Const":
            return None
        values: Array = frameworks().tf.make_ndarray(source.op.get_attr("value"))
        return values

    def callable(self, given: Sequence[str], wanted: Sequence[str]) -> Any:
        """A function of the inputs and of ``given`` tensors, each of which stands for itself wherever it is read."""
        tf, definition = frameworks().tf, type(self.definition)()
        definition.CopyFrom(self.definition)
        for name in wanted:
            if name in given:  # what is asked for is what the graph computes, not what stands in for it
                own = definition.node.add()
                own.CopyFrom(self.nodes[name.partition(":")[0]])
                own.name += OWN
        fetched = [_own(name) if name in given else name for name in wanted]
        specs = {t.name: tf.TensorSpec(t.shape, t.dtype) for t in (*self.inputs, *self.tensors)}
        fed = [*(t.name for t in self.inputs), *given]

        def compute(*arrays: Any) -> Any:
            mapped = dict(zip(fed, arrays, strict=True))
            return tf.graph_util.import_graph_def(definition, input_map=mapped, return_elements=fetched, name="")

        with failing(self.model.name), quiet():
            return tf.compat.v1.wrap_function(compute, [specs[name] for name in fed])


def _own(name: str) -> str:
    node, _, output = name.partition(":")
    return f"{node}{OWN}:{output}"


class GraphRecorder:
    """The graph of a signature, whose values are watched; a context manager."""

    in_flight = 1

    def __init__(self, model: KerasModel) -> None:
        self.model, self.graph = model, FrozenGraph(model)
        self.flow = flow_of(self.graph)
        self.names = [t.name for t in self.graph.tensors]
        self._all: Any = None
        self._exchanged: tuple[tuple[int, ...], Any] | None = None

    def __enter__(self) -> GraphRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._all = self._exchanged = None

    def run(self, inputs: Sequence[Array]) -> GraphRecording:
        """Run it on its inputs, samples along axis 0.

        Raises:
            RuntimeFailed: TensorFlow raised an error.
        """
        if self._all is None:
            self._all = self.graph.callable((), self.names)
        given = [a.astype(slot.dtype, copy=False) for a, slot in zip(inputs, self.model.inputs, strict=True)]
        return GraphRecording(self.flow, self, given, self.call(self._all, given))

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run it and count.

        Raises:
            RuntimeFailed: as ``run``.
        """
        return measured(self.run(inputs), pairs, wanted)

    def exchanged(self, keys: tuple[int, ...]) -> Any:
        """The function that takes the values of ``keys`` after the inputs and computes each of them again."""
        if self._exchanged is None or self._exchanged[0] != keys:
            names = [self.names[key] for key in keys]
            self._exchanged = keys, self.graph.callable(names, names)
        return self._exchanged[1]

    def call(self, function: Any, arrays: Sequence[Array]) -> list[Array]:
        """What a function of the graph gives."""
        with failing(self.model.name), quiet():
            return [np.asarray(each) for each in function(*map(frameworks().tf.convert_to_tensor, arrays))]


@dataclass(frozen=True, slots=True)
class GraphRecording:
    """What one run of a graph showed."""

    flow: Flow
    owner: GraphRecorder
    inputs: Sequence[Array]
    values: Sequence[Array]

    def value(self, key: int) -> Array:
        """A value of this run. Shape: (samples, …)."""
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each value of ``given`` computed again from the given ones before it; inputs stay as they are."""
        count = len(self.inputs)
        keys = tuple(key for key in given if key >= count)
        arrays = [given[key].real.reshape(self.values[key].shape).astype(self.values[key].dtype) for key in keys]
        own = [
            np.asarray(given[i].real, x.dtype).reshape(x.shape) if i in given else x for i, x in enumerate(self.inputs)
        ]
        found = self.owner.call(self.owner.exchanged(keys), [*own, *arrays]) if keys else []
        return {key: self.inputs[key] for key in given if key < count} | dict(zip(keys, found, strict=True))


def flow_of(graph: FrozenGraph) -> Flow:
    """The values of the graph, numbered as in ``tensors``."""
    numbers = {t.name: number for number, t in enumerate(graph.tensors)}
    behind: dict[str, tuple[int, ...]] = {}
    places = [FlowValue(n, slot.name, "input") for n, slot in enumerate(graph.model.inputs)]
    behind |= {t.op.name: (n,) for n, t in enumerate(graph.inputs)}
    layers = {layer.name: layer for layer in _layers(graph)}
    outputs = {t.name: name for t, name in zip(graph.outputs, graph.model.outputs, strict=True)}
    for op in graph.function.graph.get_operations():
        feeds = tuple(dict.fromkeys(key for t in op.inputs for key in behind.get(t.op.name, ())))
        if op.name in behind or not feeds:
            continue
        first = op.outputs[0] if op.outputs else None
        number = None if first is None else numbers.get(first.name)
        behind[op.name] = feeds if number is None else (number,)
        if first is not None and number is not None:
            name = outputs.get(first.name, op.name) if op.type in ALIASES else op.name
            own = (layers[op.name],) if op.name in layers else ()
            places.append(FlowValue(number, name, _word(op.type), feeds, layers=own))
    ends = tuple(_end(graph, t, numbers) for t in graph.outputs)
    kept = {place.key for place in places}
    return Flow(graph.model.kind, tuple(places), tuple(range(len(graph.inputs))), tuple(e for e in ends if e in kept))


def _end(graph: FrozenGraph, tensor: Any, numbers: Mapping[str, int]) -> int:
    source = graph.source(tensor)
    return numbers.get(source.name, numbers[tensor.name])


def _word(kind: str) -> str:
    """TFLite's word for an operation: from the table, else the same in capitals."""
    parts = "".join(f"_{c}" if c.isupper() else c for c in kind).strip("_")
    return OPS.get(kind, parts.upper())


def layers_of(model: KerasModel) -> tuple[Layer, ...]:
    """The operators of a signature's graph that hold weights, in their order."""
    return tuple(_layers(FrozenGraph(model)))


def _layers(graph: FrozenGraph) -> Iterator[Layer]:
    for op in graph.function.graph.get_operations():
        held = [graph.constant(t) for t in op.inputs]
        layer = Layer(op.name, op.type, tuple(t.op.name for t in op.inputs), op=_word(op.type))
        if op.type in WEIGHTED and len(held) > 1 and held[1] is not None:
            yield replace(layer, kernel=_kernel(op, held[1]))
        elif op.type in NORMS and all(each is not None for each in held[1:5]):
            gamma, beta, mean, variance = (np.asarray(each) for each in held[1:5])
            yield replace(layer, norm=BatchNorm(gamma, beta, mean, variance, float(op.get_attr("epsilon"))))
        elif op.type in ("BiasAdd", "AddV2", "Add"):
            bias = next((each for each in held if each is not None and each.ndim == 1 and each.size > 1), None)
            if bias is not None:
                yield replace(layer, bias=bias)


def _kernel(op: Any, kernel: Array) -> Array:
    """A kernel in TFLite's axes."""
    if op.type == "MatMul":
        return kernel if op.get_attr("transpose_b") else kernel.T
    if op.type == "Conv2D":
        return np.moveaxis(kernel, -1, 0)
    return kernel.reshape(1, *kernel.shape[:2], -1)
