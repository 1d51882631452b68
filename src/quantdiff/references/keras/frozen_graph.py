"""A SavedModel without Keras inside: the graph of its signature, watched value by value.

Its values and constants are layers, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeFailed
from quantdiff.lazy import require
from quantdiff.ops import BATCH_NORM, BatchNorm, Layer
from quantdiff.quant import Array, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, FlowValue, measured
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import KerasModel, failing

FREEZE = "tensorflow.python.framework.convert_to_constants"
NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
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
    "Softmax": "SOFTMAX",
    **dict.fromkeys(NORMS, BATCH_NORM),
}
"""TensorFlow's operation → TFLite's word."""
WEIGHTED = ("MatMul", "Conv2D", "DepthwiseConv2dNative")
SUMS = ("BiasAdd", "AddV2", "Add")
ALIASES = ("Identity", "StopGradient", "PreventGradient", "CheckNumerics")
ASSIGN = "AssignVariableOp"
OWN = "/quantdiff_own"
WHOLE = "StatefulPartitionedCall/"


class FrozenGraph:
    """The graph of a signature with its variables as constants and its functions written out."""

    def __init__(self, model: KerasModel) -> None:
        freeze = require(FREEZE, extra="keras").convert_variables_to_constants_v2
        with failing(model.name), quiet():
            self.function = freeze(without_assignments(model.model.function))
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
    def computed(self) -> tuple[Any, ...]:
        """The operations whose value depends on the inputs, in the graph's order."""
        found, behind = [], {t.op.name for t in self.inputs}
        for op in self.function.graph.get_operations():
            if op.name not in behind and any(t.op.name in behind for t in op.inputs):
                behind.add(op.name)
                found.append(op)
        return tuple(found)

    @cached_property
    def tensors(self) -> tuple[Any, ...]:
        """Inputs, then every float that depends on them; what only repeats another, or waits for its bias, aside."""
        found = list(self.inputs)
        for op in self.computed:
            if op.type not in ALIASES and op.name not in self.without_bias:
                found += [t for t in op.outputs[:1] if t.dtype.is_floating]
        known = {t.name for t in found}
        return (*found, *(t for t in self.outputs if self.source(t).name not in known))

    @cached_property
    def without_bias(self) -> Mapping[str, str]:
        """Sums of products to which one operation alone, which reads them, adds a bias → that operation."""
        return {
            self.source(op.inputs[0]).op.name: op.name
            for op in self.computed
            if op.type in SUMS
            and self.channels(op) is not None
            and self.source(op.inputs[0]).op.type in WEIGHTED
            and len(self.source(op.inputs[0]).consumers()) == 1
        }

    @cached_property
    def constants(self) -> Mapping[str, Array]:
        """Every float that an operation reads and that depends on no input, by the tensor's name."""
        behind = {op.name for op in self.computed} | {t.op.name for t in self.inputs}
        read = {t.name: t for op in self.computed for t in op.inputs if t.op.name not in behind and t.dtype.is_floating}
        with failing(self.model.name), quiet():
            values = self.function.prune([], list(read.values()))() if read else ()
        return {name: np.asarray(value) for name, value in zip(read, values, strict=True)}

    def source(self, tensor: Any) -> Any:
        """The tensor that an alias repeats."""
        while tensor.op.type in ALIASES and len(tensor.op.inputs):
            tensor = tensor.op.inputs[0]
        return tensor

    def held(self, op: Any) -> list[Array | None]:
        """What the operation reads, where that is constant."""
        return [self.constants.get(t.name) for t in op.inputs]

    def channels(self, op: Any) -> Array | None:
        """The constant with a number for each channel of the operation's value that it reads, if there is one."""
        shape = op.outputs[0].shape
        last = shape[-1] if shape.rank else None
        return next((x.ravel() for x in self.held(op) if x is not None and x.ndim and x.size == last), None)

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


def without_assignments(function: Any) -> Any:
    """The function without what it writes into variables: JAX returns the state that it does not change, as it was.

    A variable that is written cannot become a constant.
    """
    freeze, tf = require(FREEZE, extra="keras"), frameworks().tf
    graph = freeze._run_inline_graph_optimization(function, False, False)  # as freezing begins
    written = {node.name for node in graph.node if node.op == ASSIGN}
    if not written:
        return function
    for node in graph.node:
        kept = [name for name in node.input if name.removeprefix("^") not in written]
        del node.input[:]
        node.input.extend(kept)
    kept_nodes = [node for node in graph.node if node.name not in written]
    del graph.node[:]
    graph.node.extend(kept_nodes)
    held = {inside.name: outside for outside, inside in function.graph.captures}
    own = [t for t in function.inputs if t.name not in held]

    def pure(*given: Any) -> Any:
        capture = tf.compat.v1.get_default_graph().capture
        fed = {name: capture(t) for name, t in held.items()} | dict(zip((t.name for t in own), given, strict=True))
        wanted = [t.name for t in function.outputs]
        return tf.graph_util.import_graph_def(graph, input_map=fed, return_elements=wanted, name="")

    specs = [tf.TensorSpec(t.shape, t.dtype, t.op.name) for t in own]
    wrapped = tf.compat.v1.wrap_function(pure, specs)
    wrapped.graph.variables = function.graph.variables
    return wrapped


def _own(name: str) -> str:
    node, _, output = name.partition(":")
    return f"{node}{OWN}:{output}"


def _word(kind: str) -> str:
    """TFLite's word for an operation: from the table, else the same in capitals."""
    parts = "".join(f"_{c}" if c.isupper() else c for c in kind).strip("_")
    return OPS.get(kind, parts.upper())


def layers_of(model: KerasModel) -> tuple[Layer, ...]:
    """Every value of a signature's graph as a layer, in their order."""
    return tuple(layers_by_operation(FrozenGraph(model)).values())


def layers_by_operation(graph: FrozenGraph) -> dict[str, Layer]:
    """The layer of every value by the name of its operation; of a sum of products and its bias there is one value."""
    pairs = zip(graph.inputs, graph.model.inputs, strict=True)
    found = {t.op.name: Layer(slot.name, "InputLayer", ()) for t, slot in pairs}
    for op in graph.computed:
        sources = [found[name] for t in op.inputs if (name := graph.source(t).op.name) in found]
        first = sources[0] if sources else None
        if op.name in graph.without_bias.values() and first is not None:
            found.pop(graph.source(op.inputs[0]).op.name)
            found[op.name] = replace(first, name=_name(op), bias=graph.channels(op))
        elif op.type not in ALIASES and op.outputs and op.outputs[0].dtype.is_floating:
            before = tuple(dict.fromkeys(each.name for each in sources))
            found[op.name] = _with_constants(graph, op, Layer(_name(op), op.type, before, op=_word(op.type)))
    return found


def _name(op: Any) -> str:
    """The name of an operation, without that of the call that the whole graph is."""
    return str(op.name.removeprefix(WHOLE))


def _with_constants(graph: FrozenGraph, op: Any, layer: Layer) -> Layer:
    """The layer with the constants that its operation reads: a kernel, a norm, a factor or a summand per channel."""
    held, channels = graph.held(op), graph.channels(op)
    if op.type in WEIGHTED and held[1] is not None:
        return replace(layer, kernel=_kernel(op, held[1]))
    if op.type in NORMS and all(each is not None for each in held[1:5]):
        gamma, beta, mean, variance = (np.asarray(each) for each in held[1:5])
        return replace(layer, norm=BatchNorm(gamma, beta, mean, variance, float(op.get_attr("epsilon"))))
    if channels is None or op.type not in (*SUMS, "Mul"):
        return layer
    none, one = np.zeros_like(channels), np.ones_like(channels)
    factor, summand = (channels, none) if op.type == "Mul" else (one, channels)
    return replace(layer, norm=BatchNorm(factor, summand, none, one, 0.0))


def _kernel(op: Any, kernel: Array) -> Array:
    """A kernel in TFLite's axes."""
    if op.type == "MatMul":
        return kernel if op.get_attr("transpose_b") else kernel.T
    if op.type == "Conv2D":
        return np.moveaxis(kernel, -1, 0)
    return kernel.reshape(1, *kernel.shape[:2], -1)


class GraphRecorder:
    """The graph of a signature, whose values are watched; a context manager."""

    in_flight = 1
    notes: tuple[str, ...] = ()

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
    layers = layers_by_operation(graph)
    for op in graph.computed:
        feeds = tuple(dict.fromkeys(key for t in op.inputs for key in behind.get(t.op.name, ())))
        number = numbers.get(op.outputs[0].name) if op.outputs else None
        behind[op.name] = feeds if number is None else (number,)
        if number is not None and op.name in layers:
            layer = layers[op.name]
            own = (layer,) if any(each is not None for each in (layer.kernel, layer.norm)) else ()
            places.append(FlowValue(number, layer.name, layer.op, feeds, layers=own, kind=layer.kind))
    ends = tuple(_end(graph, t, numbers) for t in graph.outputs)
    kept = {place.key for place in places}
    return Flow(graph.model.kind, tuple(places), tuple(range(len(graph.inputs))), tuple(e for e in ends if e in kept))


def _end(graph: FrozenGraph, tensor: Any, numbers: Mapping[str, int]) -> int:
    source = graph.source(tensor)
    return numbers[source.name if source.name in numbers else tensor.name]
