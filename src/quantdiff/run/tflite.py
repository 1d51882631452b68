"""Run a ``.tflite`` model on a named runtime: quantize the input as the file says, keep the outputs as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, RuntimeCrashed
from quantdiff.graph import Graph, Model, Tensor, is_float
from quantdiff.load.data import Batch, Slot, bind
from quantdiff.load.mapped import release
from quantdiff.quant import INTEGER_RANGE, Array, quantize
from quantdiff.run.child import RuntimeProcess
from quantdiff.trace import Trace, Value

BYTES_AT_ONCE = 2**24  # of input, in one message to the child
# Nobody promises that these take a larger batch than the file's: SVDF's state, resized, corrupts LiteRT 2.3's heap.
NEVER_BATCHED = ("VAR_HANDLE", "CALL_ONCE", "IF", "WHILE", "CUSTOM")


def trace_tflite(
    model: Model, batch: Batch, process: RuntimeProcess, on_progress: Callable[[int], None] = lambda done: None
) -> Trace:
    """Outputs of ``model`` for ``batch`` on the runtime of ``process``.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    graph, path, names = model.main, model.path, _signature_names(model)
    assert path is not None
    tensors = tuple(graph.tensors[i] for i in graph.inputs)
    feed = _Feed(path, bound_inputs(model, batch), tensors, len(graph.outputs), on_progress)
    arrays, batched = _run(process, feed, may_batch(graph))
    values = tuple(_value(graph, i, names, array) for i, array in zip(graph.outputs, arrays, strict=True))
    alone = () if batched or len(batch) == 1 else (f"{process.runtime} ran the samples one by one",)
    return Trace(f"tflite:{process.runtime}", values, alone)


def inputs_of(model: Model, batch: Batch) -> list[Array]:
    """The batch as the model's inputs take it, one invocation a row: (invocations, *shape of the input).

    Raises:
        BadData: the data do not fit the model's inputs, or are too few for one invocation.
    """
    tensors, source = [model.main.tensors[i] for i in model.main.inputs], _source(model)
    bound = bound_inputs(model, batch)
    return [_by_invocation(as_input(a, t, source), t, source) for a, t in zip(bound, tensors, strict=True)]


def bound_inputs(model: Model, batch: Batch) -> tuple[Array, ...]:
    """The batch in real units, one array per input of the model.

    Raises:
        BadData: the data do not fit the model's inputs.
    """
    return bind(batch, slots_of(model), _source(model))


def slots_of(model: Model) -> tuple[Slot, ...]:
    """What the main graph takes, by the names of its signature where it has one."""
    names = _signature_names(model)
    return tuple(_slot(model.main.tensors[i], names) for i in model.main.inputs)


def output_names(model: Model) -> tuple[str, ...]:
    """What the main graph gives, by the names of its signature where it has one."""
    names = _signature_names(model)
    return tuple(names.get(i, model.main.tensors[i].label) for i in model.main.outputs)


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


@dataclass(frozen=True, slots=True)
class _Feed:
    """Everything that a run needs: the file, real inputs and the tensors that take them, the number of outputs."""

    path: Path
    inputs: tuple[Array, ...]
    tensors: tuple[Tensor, ...]
    outputs: int
    on_progress: Callable[[int], None]


def _run(process: RuntimeProcess, feed: _Feed, batch: bool) -> tuple[list[Array], bool]:
    """Outputs as the runtime gave them, and whether in batches; a crash in batches leads to single samples."""
    try:
        process.load(feed.path, batch=batch)
        return _stream(process, feed)
    except RuntimeCrashed:
        if not batch:
            raise
    return _run(process, feed, batch=False)


def _stream(process: RuntimeProcess, feed: _Feed) -> tuple[list[Array], bool]:
    """Run slice after slice of the data, so that quantized copies stay small."""
    count = len(feed.inputs[0])
    size = max(1, BYTES_AT_ONCE // sum(array[:1].nbytes for array in feed.inputs))
    parts, ways = [], set()
    for start in range(0, count, size):
        pairs = zip(feed.inputs, feed.tensors, strict=True)
        rows = [as_input(array[start : start + size], tensor, feed.path.name) for array, tensor in pairs]
        arrays, batched = process.run(rows, feed.outputs, lambda done, at=start: feed.on_progress(at + done))  # type: ignore[misc]
        parts.append(arrays)
        ways.add(batched)
        release(feed.inputs)
    feed.on_progress(count)
    return [np.concatenate([part[i] for part in parts]) for i in range(feed.outputs)], ways == {True}


def may_batch(graph: Graph) -> bool:
    """Whether several samples may be run at once: no state, no control flow, no custom code."""
    has_state = any(tensor.is_variable for tensor in graph.tensors)
    return not has_state and not any(op.op.startswith(NEVER_BATCHED) for op in graph.operators)


def as_input(array: Array, tensor: Tensor, model: str) -> Array:
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


def _slot(tensor: Tensor, names: dict[int, str]) -> Slot:
    shape = tuple(tensor.shape_signature or tensor.shape)
    plain = tensor.name.removesuffix(":0").removeprefix("serving_default_")
    return Slot(names.get(tensor.index, tensor.name), shape, tensor.dtype, (tensor.name, plain))


def _value(graph: Graph, index: int, names: dict[int, str], array: Array) -> Value:
    tensor = graph.tensors[index]
    quant = tensor.quant if array.dtype.name in INTEGER_RANGE else None
    grid = graph.grid_before(index) if quant is not None or is_float(tensor.dtype) else None
    return Value(names.get(index, tensor.label), array, quant, grid)


def _signature_names(model: Model) -> dict[int, str]:
    """Names by which people know inputs and outputs, where the file has a signature for the main graph."""
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    return {i: name for name, i in (*signature.inputs, *signature.outputs)} if signature else {}
