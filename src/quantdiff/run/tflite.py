"""Run a ``.tflite`` model on a named runtime: quantize the input as the file says, keep the outputs as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from quantdiff.errors import BadData, RuntimeCrashed
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.load.data import Batch, Order, Slot, bind
from quantdiff.load.npz import release
from quantdiff.quant import INTEGER_RANGE, Array, Value, is_float, quantize
from quantdiff.run.runner import Runner
from quantdiff.run.shared_memory import Block, block_of
from quantdiff.sim.arm64 import by_rows
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime
from quantdiff.trace import Trace

T = TypeVar("T")
BYTES_AT_ONCE = 2**24  # of input, in one message to the child
# Nobody promises that these take a larger batch than the file's: SVDF's state, resized, corrupts LiteRT 2.3's heap.
NEVER_BATCHED = ("VAR_HANDLE", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "CUSTOM")


def trace_tflite(
    model: Model, batch: Batch, process: Runner, on_progress: Callable[[int], None] = lambda done: None
) -> Trace:
    """Outputs of ``model`` for ``batch`` on the runtime of ``process``.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    return Tracer(model, process).trace(batch, on_progress)


class Tracer:
    """A model that is loaded once, on the runtime of ``process``, and asked again and again."""

    def __init__(self, model: Model, process: Runner) -> None:
        self._model, self._process, self._names = model, process, _signature_names(model)
        self._loaded: Loaded | None = None

    def trace(self, batch: Batch, on_progress: Callable[[int], None] = lambda done: None) -> Trace:
        """The outputs for ``batch``.

        Raises:
            BadData: the data do not fit the model's inputs.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        graph, runtime = self._model.main, self._process.runtime
        if self._loaded is None:
            self._loaded = loaded_model(self._process, self._model, batch=may_batch(graph, self._process.rules))
        arrays, batched = _stream(self._loaded, self._model, bound_inputs(self._model, batch), on_progress)
        values = tuple(_value(graph, i, self._names, array) for i, array in zip(graph.outputs, arrays, strict=True))
        notes = (*self._process.notes, *ran_alone(runtime, batched, len(batch)))
        return Trace(f"tflite:{runtime}", values, notes)


def ran_alone(runtime: str, batched: bool, samples: int) -> tuple[str, ...]:
    """A note where several samples were not run at once."""
    return () if batched or samples == 1 else (f"{runtime} ran the samples one by one",)


def inputs_of(model: Model, batch: Batch) -> list[Array]:
    """The batch as the model's inputs take it, one invocation a row: (invocations, *shape of the input).

    Raises:
        BadData: the data do not fit the model's inputs, or are too few for one invocation.
    """
    tensors, fed = _input_tensors(model), as_inputs(model, bound_inputs(model, batch))
    return [_by_invocation(array, tensor, _source(model)) for array, tensor in zip(fed, tensors, strict=True)]


def as_inputs(model: Model, arrays: Sequence[Array]) -> list[Array]:
    """Real values, one array per input of the model, as these take them.

    Raises:
        BadData: fractions for an input that takes whole numbers.
    """
    source = _source(model)
    return [_as_input(array, tensor, source) for array, tensor in zip(arrays, _input_tensors(model), strict=True)]


def bound_inputs(model: Model, batch: Batch) -> tuple[Array, ...]:
    """The batch in real units, one array per input of the model.

    Raises:
        BadData: the data do not fit the model's inputs.
    """
    return bind(batch, slots_of(model), _source(model))


def slots_of(model: Model) -> tuple[Slot, ...]:
    """What the main graph takes, by the names of its signature where it has one."""
    names, orders = _signature_names(model), dict(enumerate(model.turned))
    return tuple(_slot(tensor, names, orders.get(k, ())) for k, tensor in enumerate(_input_tensors(model)))


def output_names(model: Model) -> tuple[str, ...]:
    """What the main graph gives, by the names of its signature where it has one."""
    names = _signature_names(model)
    return tuple(names.get(i, model.main.tensors[i].label) for i in model.main.outputs)


def _input_tensors(model: Model) -> list[Tensor]:
    return [model.main.tensors[i] for i in model.main.inputs]


def _source(model: Model) -> str:
    return model.path.name if model.path else "the model"


def _by_invocation(array: Array, tensor: Tensor, model: str) -> Array:
    """Samples in groups of as many as one invocation takes; those left over are dropped."""
    if array.ndim != len(tensor.shape):
        return array
    rows = max(1, tensor.shape[0])
    if len(array) < rows:
        raise BadData(f"{model}: input {tensor.name!r} takes {rows} samples at once, the data have {len(array)}")
    return array[: len(array) // rows * rows].reshape(-1, rows, *array.shape[1:])


def loaded_model(process: Runner, model: Model, *, batch: bool) -> Loaded:
    """A model as it was read, in a child."""
    assert model.path is not None
    content = None if model.content is None else block_of(model.content)
    return Loaded(process, model.path, batch=batch, content=content)


class Loaded:
    """A file, or ``content`` under its name, in a child: in batches if ``batch`` allows it and none has crashed."""

    def __init__(self, process: Runner, path: Path, *, batch: bool, content: Block | None = None) -> None:
        self.process, self._path, self._batch, self._ready = process, path, batch, False
        self._content = content

    def ask(self, question: Callable[[], T]) -> T:
        """What the child answers; the file is loaded when it is first asked.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        try:
            if not self._ready:
                self.process.load(self._path, batch=self._batch, content=self._content)
                self._ready = True
            return question()
        except RuntimeCrashed:
            if not self._batch:
                raise
        self._batch = self._ready = False
        return self.ask(question)


def _stream(
    loaded: Loaded, model: Model, inputs: Sequence[Array], on_progress: Callable[[int], None]
) -> tuple[list[Array], bool]:
    """Outputs for slice after slice of real inputs, so that quantized copies stay small; and whether in batches."""
    count, outputs = len(inputs[0]), len(model.main.outputs)
    size = max(1, BYTES_AT_ONCE // max(1, sum(array[:1].nbytes for array in inputs)))  # an input may be empty
    parts, ways = [], set()
    for start in range(0, count, size):
        rows = as_inputs(model, [array[start : start + size] for array in inputs])
        told = partial(_told, on_progress, start)
        arrays, batched = loaded.ask(partial(loaded.process.run, rows, outputs, told))
        parts.append(arrays)
        ways.add(batched)
        release(inputs)
    on_progress(count)
    return [np.concatenate([part[i] for part in parts]) for i in range(outputs)], ways == {True}


def _told(on_progress: Callable[[int], None], start: int, done: int) -> None:
    on_progress(start + done)


def may_batch(graph: Graph, rules: Rules | None = None) -> bool:
    """Whether several samples may be run at once: no state, no control flow, no custom code.

    Nor where the runtime of these ``rules`` rounds several rows otherwise than one (``sim.arm64.by_rows``).
    """
    has_state = any(tensor.is_variable for tensor in graph.tensors)
    if has_state or any(op.op.startswith(NEVER_BATCHED) for op in graph.operators):
        return False
    if not isinstance(rules, Runtime) or not rules.on_arm64:  # a profile is computed sample by sample
        return True
    nodes = (node_of(graph, op) for op in graph.operators)
    return not any(by_rows(node, kernel_of(node, rules).family) for node in nodes)


def _as_input(array: Array, tensor: Tensor, model: str) -> Array:
    """Real values as the tensor wants them: quantized, or as plain numbers of its dtype.

    Raises:
        BadData: fractions for an input that takes whole numbers.
    """
    if tensor.quant is not None and tensor.dtype in INTEGER_RANGE:
        return quantize(array, tensor.quant, tensor.dtype)
    try:
        values: Array = array.astype(tensor.dtype, copy=False)
    except TypeError as error:
        raise BadData(f"{model}: input {tensor.name!r} has type {tensor.dtype}, which cannot be fed") from error
    if not is_float(tensor.dtype) and not np.array_equal(values, array):
        raise BadData(f"{model}: input {tensor.name!r} takes {tensor.dtype}; the data hold fractions or larger numbers")
    return values


def _slot(tensor: Tensor, names: dict[int, str], order: Order) -> Slot:
    shape = tuple(tensor.shape_signature or tensor.shape)
    plain = tensor.name.removesuffix(":0").removeprefix("serving_default_")
    return Slot(names.get(tensor.index, tensor.name), shape, tensor.dtype, (tensor.name, plain), order)


def _value(graph: Graph, index: int, names: dict[int, str], array: Array) -> Value:
    tensor = graph.tensors[index]
    quant = tensor.quant if array.dtype.name in INTEGER_RANGE else None
    grid = graph.grid_before(index) if quant is not None or is_float(tensor.dtype) else None
    return Value(names.get(index, tensor.label), array, quant, grid)


def _signature_names(model: Model) -> dict[int, str]:
    """Names by which people know inputs and outputs, where the file has a signature for the main graph."""
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    return {i: name for name, i in (*signature.inputs, *signature.outputs)} if signature else {}
