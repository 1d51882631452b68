"""Inner tensors of a ``.tflite`` on a runtime: the file with further outputs, run beside the untouched one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.rewrite import with_outputs
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run.child import RuntimeProcess
from quantdiff.run.tflite import inputs_of, trace_tflite
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime
from quantdiff.trace import Trace

Visit = Callable[[dict[int, Array]], None]

BYTES_AT_ONCE = 2**27  # of inner values in memory


@dataclass(frozen=True, slots=True)
class Watched:
    """The model's own outputs from the untouched file, and how many of them the watching changed."""

    trace: Trace
    changed: int


def watch_tensors(
    model: Model,
    tensors: Sequence[int],
    batch: Batch,
    process: RuntimeProcess,
    visit: Visit,
) -> Watched:
    """Run ``model`` and show ``visit`` the values of ``tensors`` (indices), slice after slice, as the runtime has them.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    assert model.path is not None
    plain = trace_tflite(model, batch, process)
    own, changed = len(model.main.outputs), 0
    with tempfile.TemporaryDirectory(prefix="quantdiff-") as folder:
        path = Path(folder) / model.path.name
        path.write_bytes(with_outputs(model.path.read_bytes(), (*model.main.outputs, *tensors)))
        exposed = load_tflite(path)
        for start, rows in _slices(model, tensors, batch):
            values = [value.array for value in trace_tflite(exposed, rows, process).outputs]
            visit(dict(zip(tensors, values[own:], strict=True)))
            for before, after in zip(plain.outputs, values[:own], strict=True):
                changed += int(np.count_nonzero(before.array[start : start + len(rows)] != after))
    return Watched(plain, changed)


@dataclass(frozen=True, slots=True)
class Reading:
    """Some samples, run one by one: their inputs as the runtime takes them, inner tensors and final outputs.

    ``values`` are by tensor index, ``inputs`` and ``outputs`` in the model's order; all with the samples along axis 0
    and the tensor's own shape behind. ``changed`` elements of the outputs came out otherwise than from the
    untouched file.
    """

    start: int
    rows: Batch
    inputs: tuple[Array, ...]
    values: dict[int, Array]
    outputs: tuple[Array, ...]
    changed: int


def read_tensors(
    model: Model, tensors: Sequence[int], batch: Batch, process: RuntimeProcess
) -> Generator[Reading, None, None]:
    """Run ``model`` and give inputs, outputs and ``tensors`` (indices), slice after slice, as the runtime has them.

    Sample by sample, as on a device: some kernels round by the place of an element in the whole array.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    assert model.path is not None
    graph, slices = model.main, _slices(model, tensors, batch)
    inner = [i for i in dict.fromkeys(tensors) if i not in graph.outputs]
    exposed = (*graph.outputs, *inner)
    process.load(model.path, batch=False)
    own = [process.run(inputs_of(model, rows), len(graph.outputs), _unheard)[0] for _, rows in slices]
    with tempfile.TemporaryDirectory(prefix="quantdiff-") as folder:
        path = Path(folder) / model.path.name
        path.write_bytes(with_outputs(model.path.read_bytes(), exposed))
        process.load(path, batch=False)
        for (start, rows), before in zip(slices, own, strict=True):
            inputs = inputs_of(model, rows)
            arrays, _ = process.run(inputs, len(exposed), _unheard)
            values = {i: a.reshape(-1, *graph.tensors[i].shape) for i, a in zip(exposed, arrays, strict=True)}
            outputs = tuple(values[i] for i in graph.outputs)
            pairs = zip(before, outputs, strict=True)
            changed = sum(int(np.count_nonzero(a.reshape(b.shape) != b)) for a, b in pairs)
            yield Reading(start, rows, tuple(inputs), values, outputs, changed)


def simulate_tensors(
    model: Model, tensors: Sequence[int], batch: Batch, runtime: Runtime
) -> Generator[Reading, None, None]:
    """What ``read_tensors`` would give on a runtime that is not at hand, by its simulator.

    Raises:
        BadData: the data do not fit the model's inputs.
        UnsupportedOp: the simulator lacks an operator.
    """
    graph = model.main
    for start, rows in _slices(model, tensors, batch):
        inputs = inputs_of(model, rows)
        chain = simulate(graph, inputs, runtime, model.subgraphs)
        for item in chain.missing:
            raise UnsupportedOp(
                f"{runtime.value} is not installed, and the simulator lacks operator {item.index} {item.op}: {item.why}"
            )
        outputs = tuple(chain.values[i] for i in graph.outputs)
        yield Reading(start, rows, tuple(inputs), {i: chain.values[i] for i in tensors}, outputs, 0)


def disturbed(changed: int) -> tuple[str, ...]:
    """A note where reading inner tensors changed what was read; none where it did not."""
    if not changed:
        return ()
    return (f"{changed} outputs of the model changed when its inner tensors were made outputs",)


def _unheard(done: int) -> None:
    del done


def _slices(model: Model, tensors: Sequence[int], batch: Batch) -> list[tuple[int, Batch]]:
    """Parts of the data whose inner values fit into memory, with the index of each part's first sample."""
    bytes_each = 4 * sum(int(np.prod(model.main.tensors[i].shape)) for i in tensors)
    size = max(1, BYTES_AT_ONCE // max(1, bytes_each))
    return [
        (start, Batch({name: array[start : start + size] for name, array in batch.arrays.items()}, None, batch.source))
        for start in range(0, len(batch), size)
    ]
