"""Resource variables: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and CALL_ONCE, the state of streaming models.

LiteRT ``tflite/kernels/{var_handle,read_variable,assign_variable,call_once}.cc``; tflm:
``tensorflow/lite/micro/micro_resource_variable.cc``. What a variable holds outlives the invocation; so the samples
are one stream, in their order, and the interpreter starts with an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from quantdiff.graph import STATE, Graph, Operator
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.node import NoKernel, Values, fitting, is_quantized, node_of, zero_point_of
from quantdiff.sim.runtime import Runtime

NESTED_AT_MOST = 100
Run = Callable[[Graph, Operator, Values, Rules], tuple[Array, ...]]


class Resources:
    """What the variables hold, from one sample to the next."""

    def __init__(self, subgraphs: Sequence[Graph], runtime: Rules, run: Run) -> None:
        self.subgraphs, self.runtime, self.run = subgraphs, runtime, run
        self.ids: dict[tuple[str, str], int] = {}
        self.held: dict[int, Array] = {}
        self.called: set[int] = set()
        self.running: list[int] = []

    def operate(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        """The outputs of any operator, for one sample."""
        if operator.op in STATE:
            return self.step(graph, operator, values)
        return self.run(graph, operator, values, self.runtime)

    def step(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        """The outputs of one operator on the state, for one sample.

        Raises:
            NoKernel: the runtime has no value to read, or empties the state by itself.
        """
        if self.runtime is Runtime.TFLM and any(tensor.is_variable for tensor in graph.tensors):
            raise NoKernel("a model with resource variables and variable tensors: TFLM empties both at once")
        steps = (self._handle, self._read, self._assign, self._call_once)
        with fitting():
            return dict(zip(STATE, steps, strict=True))[operator.op](graph, operator, values)

    def _handle(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        del graph, values
        key = str(operator.options.get("container") or ""), str(operator.options.get("shared_name") or "")
        return (np.asarray([self.ids.setdefault(key, len(self.ids))], np.int32),)

    def _read(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        if operator.inputs[0] not in values:
            raise NoKernel("it reads a variable that no operator names")
        variable = int(values[operator.inputs[0]][0])
        if variable in self.held:
            return (self.held[variable],)
        if self.runtime is not Runtime.TFLM:
            raise NoKernel("a variable is read that nothing was assigned to: XNNPACK finds chance there, others stop")
        tensor = node_of(graph, operator).y
        empty = zero_point_of(tensor) if is_quantized(tensor, "int8") else 0
        return (np.full((1, *tensor.shape), empty, tensor.dtype),)

    def _assign(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        variable, source = operator.inputs
        stored = graph.tensors[source].data
        self.held[int(values[variable][0])] = values[source] if stored is None else stored[None]
        return ()

    def _call_once(self, graph: Graph, operator: Operator, values: Values) -> tuple[Array, ...]:
        del graph, values
        index = int(str(operator.options.get("init_subgraph_index", 0)))
        if index in self.called or index in self.running:  # a body that calls itself, or goes round
            return ()
        if not 0 <= index < len(self.subgraphs) or len(self.running) == NESTED_AT_MOST:
            raise NoKernel(f"it calls subgraph {index}, which is not there, or one in another {NESTED_AT_MOST} times")
        self.running.append(index)
        try:
            body, inner = self.subgraphs[index], dict[int, Array]()
            for step in body.operators:
                inner.update(zip(step.outputs, self.operate(body, step, inner), strict=True))
        finally:
            self.running.pop()
        self.called.add(index)
        return ()
